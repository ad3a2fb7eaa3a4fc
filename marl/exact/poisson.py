"""The Poisson equation (I - P) V = r - J 1 of a chain with one recurrent class is solved, and its stationary law found.

Dense: one linear system in (J, V) with V of one state set to zero, solved for all rewards at once. The same matrix
transposed gives the stationary law. Matrix-free: relative value iteration V <- V + r + P V - V, whose increment
d = r + P V - V brackets J between its least and largest entry; damped where the chain turns out to be nearly periodic.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from marl.core.errors import ConfigError
from marl.exact.chain import Chain
from marl.exact.interaction import variation
from marl.kernels.elimination import improve

MOST_ITERATIONS = 20_000
TOLERANCE = 1e-14
"""Wanted size of the last increment, relative to the rewards (or to one, for a distribution)."""
TRIAL = 20
"""Iterations after which slow progress is noticed."""
_NOISE = 1e-11
"""Relative size below which an increment that no longer shrinks is rounding."""


@dataclass
class Solution:
    """This holds J [C], V [X, C] up to a constant per column, and how good they are.

    residual [C]: span of r + P V - V, evaluated once more on the result; |error of J| <= residual / 2. iterations: 0 on
    the dense route.
    """

    chain: Chain
    J: Float[Tensor, "C"]
    V: Float[Tensor, "X C"]
    residual: Float[Tensor, "C"]
    iterations: int

    @cached_property
    def error(self) -> Float[Tensor, "C"]:
        """Bounds the span of the error of V, by inf where no bound can be given (see `gain`)."""
        factor = gain(self.chain)
        return self.residual * factor if np.isfinite(factor) else torch.full_like(self.residual, np.inf)


def solve(chain: Chain, rewards: Float[np.ndarray, "X C"], tolerance: float = TOLERANCE) -> Solution:
    """Solves for J and V of every column of rewards.

    Errors: `ConfigError` if the chain has several recurrent classes, or mixes too slowly for the iteration.
    """
    _ = chain.recurrent  # refuses several recurrent classes
    offset = (rewards.max(axis=0) + rewards.min(axis=0)) / 2  # V does not depend on it, rounding does
    centered = rewards - offset
    values, iterations = _direct_or_iterated(chain, centered, tolerance)
    increment = centered + chain.expect(values) - values
    low, high = torch.from_numpy(increment.min(axis=0)), torch.from_numpy(increment.max(axis=0))
    return Solution(chain, (low + high) / 2 + torch.from_numpy(offset), torch.from_numpy(values), high - low, iterations)


def gain(chain: Chain) -> float:
    """Bounds (span of the error of V) / (span of the residual), by inf where no bound is known.

    The error is sum_t P^t (d - J), and the variation of P^t g in s_j is at most [delta(g) C^t]_j with C the interaction
    matrix of the laws; so its span is at most residual * sum_ij [(I - C)^-1]_ij if the spectral radius of C is below 1.
    Where laws see actions, s_j also changes those of the agents k that see it, with probability at most Pi_kj, the
    variation of zeta_k in s_j: then C (I + Pi) stands in place of C.
    """
    tables = chain.averaged_laws()
    matrix = np.zeros((chain.n, chain.n))
    for i, table in enumerate(tables):
        for axis, j in enumerate(chain.scopes[i]):
            matrix[i, j] = variation(table, axis)
    if chain.laws.sees_pairs:
        actions = np.eye(chain.n)
        for k, table in enumerate(chain.tables):
            for axis, j in enumerate(chain.seen[k]):
                actions[k, j] = 1.0 if j == k else variation(table, axis)
        matrix = matrix @ actions
    if np.abs(np.linalg.eigvals(matrix)).max() >= 1.0 - 1e-9:
        return float("inf")
    return float(np.linalg.solve(np.eye(chain.n) - matrix, np.ones(chain.n)).sum())


def stationary(chain: Chain, tolerance: float = TOLERANCE) -> Float[Tensor, "X"]:
    """Solves for the stationary law over joint states; it is zero on transient states. Errors: as `solve`.

    Matrix-free, it is exact to about 1e-15 in absolute terms: states that are rarer than that are not resolved.
    """
    recurrent = chain.recurrent
    if chain.method == "free":
        try:
            return _stationary_iterated(chain, tolerance)
        except TooSlowError:
            if not chain.fall_back():
                raise
    unit = torch.zeros(chain.num_states, dtype=torch.float64)
    unit[0] = 1.0
    law = (torch.linalg.solve(system(chain.matrix).T, unit) * torch.from_numpy(recurrent)).clamp(min=0.0)
    return law / law.sum()


def _stationary_iterated(chain: Chain, tolerance: float) -> Tensor:
    recurrent = chain.recurrent
    w = (recurrent / recurrent.sum())[:, None]  # a closed class: no mass ever leaves it
    pace = _Pace(tolerance)
    while True:
        change = chain.push(w) - w
        done = pace.after(float(np.abs(change).sum()), 1.0)
        w += pace.step * change
        w /= w.sum()
        if done:
            return torch.from_numpy(w[:, 0])


def system(matrix: Float[Tensor, "X X"]) -> Float[Tensor, "X X"]:
    """Makes I - P with its first column replaced by ones: applied to (J, V_1, V_2, ...) it gives r, where V_0 = 0."""
    left = torch.eye(len(matrix), dtype=matrix.dtype) - matrix
    return torch.cat([torch.ones(len(matrix), 1, dtype=matrix.dtype), left[:, 1:]], dim=1)


def _direct_or_iterated(chain: Chain, rewards: np.ndarray, tolerance: float) -> tuple[np.ndarray, int]:
    """Solves by the chain's method; a chain that chose to iterate and mixes too slowly is solved directly if small."""
    if chain.method == "free":
        try:
            return _iterate(chain, rewards, tolerance)
        except TooSlowError:
            if not chain.fall_back():
                raise
    return _direct(chain, rewards), 0


def _direct(chain: Chain, rewards: np.ndarray) -> np.ndarray:
    values = torch.linalg.solve(system(chain.matrix), torch.from_numpy(rewards)).numpy()
    values[0] = 0.0  # J stood here
    return values


def _iterate(chain: Chain, rewards: np.ndarray, tolerance: float) -> tuple[np.ndarray, int]:
    values = np.zeros_like(rewards)
    low, high = np.empty(rewards.shape[1]), np.empty(rewards.shape[1])
    scale = float((rewards.max(axis=0) - rewards.min(axis=0)).max(initial=0.0))
    pace = _Pace(tolerance)
    while True:
        increment = chain.expect(values)
        improve(increment, rewards, values, low, high)
        done = pace.after(float((high - low).max(initial=0.0)), scale)
        values += pace.step * (increment - (low + high) / 2)
        if done:
            return values, len(pace.sizes)


class TooSlowError(ConfigError):
    """The chain mixes too slowly for the iteration."""


class _Pace:
    """Decides when an iteration is over, and whether to damp it.

    Full steps are best for a chain that mixes, half steps for one that is nearly periodic. Where full steps shrink the
    increment slowly, half steps are tried, and whichever does better is kept.
    """

    def __init__(self, tolerance: float):
        self.tolerance = tolerance
        self.step = 1.0
        self.sizes: list[float] = []
        self._tried_at: int | None = None
        self._full = 0.0

    def after(self, size: float, scale: float) -> bool:
        """Says whether an increment of this size is the last. Errors: `ConfigError` after too many."""
        self.sizes.append(size)
        count = len(self.sizes)
        if size <= self.tolerance * scale or (size <= _NOISE * scale and self._stands_still()):
            return True
        if count > TRIAL and self._tried_at is None and size > 0.5 * self.sizes[-TRIAL - 1]:
            self.step, self._tried_at, self._full = 0.5, count, size / self.sizes[-TRIAL - 1]
        elif self._tried_at is not None and count == self._tried_at + TRIAL and size > self._full * self.sizes[-TRIAL - 1]:
            self.step = 1.0
        if count >= MOST_ITERATIONS:
            raise TooSlowError(
                f"the chain mixes too slowly for the matrix-free solver: after {count} iterations the increment is still "
                f"{size:.1e} of {scale:.1e}; use method=dense (up to 4096 joint states)"
            )
        return False

    def _stands_still(self) -> bool:
        """Says whether there was no progress in the last third of all iterations."""
        window = max(5, len(self.sizes) // 3)
        return len(self.sizes) > 2 * window and min(self.sizes[-window:]) > 0.5 * min(self.sizes[:-window])
