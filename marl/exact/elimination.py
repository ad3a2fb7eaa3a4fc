"""Variable elimination computes E[h(s') | ...] of a chain that factorizes over agents, without its matrix.

    (P h)(x) = sum_y prod_k F_k(y_k | x_{N_k}) h(y)

Summing over one y_k at a time, each sum touches an array over the sources met so far and the targets not yet summed:
n passes over arrays not much larger than h, instead of a matrix with |X|^2 entries. Where the factors see actions as
well (x_j = z_j), z_j is averaged to s_j under the policy as soon as no factor needs it and every agent that j's policy
sees has been met. Every step is linear; the same steps transposed, in reverse order, push distributions forward.
"""

import math
from typing import NamedTuple

import numpy as np

from marl.core.checks import gib, size
from marl.core.errors import ConfigError
from marl.kernels import elimination as kernels


class _Sum(NamedTuple):
    """Sums over the target of factor `agent`. Shapes: [outer, left, values, right] -> [outer, fresh, left, right]."""

    agent: int
    outer: int
    fresh: int
    left: int
    right: int


class _Average(NamedTuple):
    """Averages source `agent` from pairs to states. Shapes: [outer, pairs, right] -> [outer, states, right].

    right: of the targets that are left; the sources behind the agent come on top.
    """

    agent: int
    outer: int
    right: int


class _Rows(NamedTuple):
    """These are the rows of the weights of an average: before[u] + behind[i], beside `right` that they do not depend on."""

    before: np.ndarray
    behind: np.ndarray
    right: int


class Elimination:
    """These are the steps for given scopes and sizes.

    scopes[k]: the sources that factor k sees, in the order of the axes of its table. sources[v], targets[k]: numbers of
    values. first[v] [S_v + 1]: where the pairs of each state begin, or None where sources are not averaged. seen[v]: the
    sources on whose states the weights of v depend, v included, in increasing order; None: v alone. Every source is seen
    by some factor. memory: GiB that the arrays on the way may take.

    `num_sources`, `num_targets`: entries of what `push` and `expect` take. `peak`: of the largest array on the way.
    Errors: `ConfigError` with the size, before anything is allocated.
    """

    def __init__(
        self,
        scopes: list[list[int]],
        sources: list[int],
        targets: list[int],
        first: list[np.ndarray] | None = None,
        memory: float = 4.0,
        seen: list[list[int]] | None = None,
    ):
        self.num_targets = math.prod(targets)
        self._first = first or []
        self._seen = seen or [[v] for v in range(len(sources))]
        self._size = list(sources)
        self._met: list[int] = []
        self._steps: list[_Sum | _Average] = []
        self._plan(scopes, targets)
        self.num_sources = math.prod(self._size)
        self._columns = max(1, int(memory * 2**26) // self.peak)
        needed = 8 * (2 * self.peak + 4 * self.num_sources)
        if needed > memory * 2**30:
            raise ConfigError(
                f"{size(self.num_targets)} joint states need {gib(needed)} GiB even without a "
                f"matrix, more than the {memory:g} GiB allowed; use fewer agents or states, or allow more memory"
            )
        self._size = list(sources)
        self._met = []
        self._code: dict[int, np.ndarray] = {}
        self._rows: dict[int, _Rows] = {}
        for number, step in enumerate(self._steps):
            if isinstance(step, _Sum):
                self._code[number] = self._codes(scopes[step.agent])
            else:
                self._rows[number] = self._rows_of(step)
        sizes = [self._size[v] for v in self._met]
        natural = np.arange(self.num_sources).reshape(sizes).transpose(np.argsort(self._met)).reshape(-1)
        self._place = None if self._met == sorted(self._met) else natural
        self._buffers = np.empty(0), np.empty(0)

    def expect(self, factors: list[np.ndarray], weights: list[np.ndarray], h: np.ndarray) -> np.ndarray:
        """Computes (P h)(x).

        Shapes: factors[k] [joint scope values, targets[k]], weights[v] [joint states of the others in seen[v], pairs],
        h [Y, C] -> [X, C].
        """
        if h.shape[1] > self._columns:
            parts = np.array_split(h, -(-h.shape[1] // self._columns), axis=1)
            return np.concatenate([self.expect(factors, weights, part) for part in parts], axis=1)
        width, now = h.shape[1], np.ascontiguousarray(h).reshape(-1)
        for number, step in enumerate(self._steps):
            out = self._buffer(number, width)
            if isinstance(step, _Sum):
                p, code = factors[step.agent], self._code[number]
                kernels.contract(now, out, code, p, step.outer, step.fresh, step.left, step.right * width)
            else:
                v, rows = step.agent, self._rows[number]
                before, behind, right = rows.before, rows.behind, rows.right * width
                kernels.average(now, out, weights[v], self._first[v], before, behind, step.outer, right)
            now = out
        result = now[: self.num_sources * width]
        if self._place is None:
            return result.reshape(-1, width).copy()
        placed = np.empty((self.num_sources, width))
        kernels.reorder(result, placed.reshape(-1), self._place, width)
        return placed

    def push(self, factors: list[np.ndarray], weights: list[np.ndarray], w: np.ndarray) -> np.ndarray:
        """Computes (w P)(y), the transpose of `expect`. Shapes: w [X, C] -> [Y, C]."""
        if w.shape[1] > self._columns:
            parts = np.array_split(w, -(-w.shape[1] // self._columns), axis=1)
            return np.concatenate([self.push(factors, weights, part) for part in parts], axis=1)
        width, now = w.shape[1], np.ascontiguousarray(w).reshape(-1)
        if self._place is not None:
            now = np.empty_like(w)
            now[self._place] = w
            now = now.reshape(-1)
        for number, step in reversed(list(enumerate(self._steps))):
            out = self._buffer(number, width)
            if isinstance(step, _Sum):
                p, code = factors[step.agent], self._code[number]
                kernels.spread(now, out, code, p, step.outer, step.fresh, step.left, step.right * width)
            else:
                v, rows = step.agent, self._rows[number]
                before, behind, right = rows.before, rows.behind, rows.right * width
                kernels.unfold(now, out, weights[v], self._first[v], before, behind, step.outer, right)
            now = out
        return now[: self.num_targets * width].reshape(-1, width).copy()

    def _plan(self, scopes: list[list[int]], targets: list[int]) -> None:
        """Plans greedily: next comes the factor that makes the array grow least."""
        left = list(range(len(scopes)))
        waiting = [sum(v in scope for scope in scopes) for v in range(len(self._size))]
        self.peak = self.num_targets
        while left:
            growth = [math.prod(self._size[v] for v in scopes[k] if v not in self._met) / targets[k] for k in left]
            k = left[growth.index(min(growth))]
            place = left.index(k)
            outer = math.prod(self._size[v] for v in self._met)
            fresh = [v for v in scopes[k] if v not in self._met]
            left.remove(k)
            before, after = (math.prod(targets[j] for j in part) for part in (left[:place], left[place:]))
            grown = math.prod(self._size[v] for v in fresh)
            self._steps.append(_Sum(k, outer, grown, before, after))
            self._met += fresh
            self.peak = max(self.peak, outer * grown * before * after)
            for v in scopes[k]:
                waiting[v] -= 1
            for v in self._met if self._first else ():
                if waiting[v] == 0 and set(self._seen[v]) <= set(self._met):
                    waiting[v] = -1
                    outside = math.prod(self._size[j] for j in self._met[: self._met.index(v)])
                    self._steps.append(_Average(v, outside, before * after))
                    self._size[v] = len(self._first[v]) - 1

    def _codes(self, scope: list[int]) -> np.ndarray:
        """Finds the factor's row for every value of the trailing sources that it needs, last source fastest."""
        self._met += [v for v in scope if v not in self._met]
        trailing = self._met[min(self._met.index(v) for v in scope) :]
        digits = dict(zip(trailing, np.indices([self._size[v] for v in trailing]).reshape(len(trailing), -1), strict=True))
        return np.ravel_multi_index([digits[v] for v in scope], [self._size[v] for v in scope])

    def _rows_of(self, step: _Average) -> _Rows:
        """Finds the rows of the weights for the values of the other sources, which may still be pairs."""
        v, stride, strides = step.agent, 1, {}
        for j in reversed(self._seen[v]):
            if j != v:
                strides[j] = stride
                stride *= len(self._first[j]) - 1
        at = self._met.index(v)
        before, behind = self._met[:at], self._met[at + 1 :]
        while before and before[0] not in strides:
            before = before[1:]
        while behind and behind[-1] not in strides:
            behind = behind[:-1]
        rest = math.prod(self._size[j] for j in self._met[at + 1 + len(behind) :])
        self._size[v] = len(self._first[v]) - 1
        return _Rows(self._added(before, strides), self._added(behind, strides), rest * step.right)

    def _added(self, agents: list[int], strides: dict[int, int]) -> np.ndarray:
        """Adds up stride times state over some sources, for all their joint values, last source fastest."""
        rows = np.zeros(1, dtype=np.int64)
        for j in agents:
            states = len(self._first[j]) - 1
            state = np.repeat(np.arange(states), np.diff(self._first[j])) if self._size[j] > states else np.arange(states)
            rows = (rows[:, None] + strides.get(j, 0) * state).reshape(-1)
        return rows

    def _buffer(self, number: int, width: int) -> np.ndarray:
        if len(self._buffers[0]) < self.peak * width:
            self._buffers = np.empty(self.peak * width), np.empty(self.peak * width)
        return self._buffers[number % 2]
