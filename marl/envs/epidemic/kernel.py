"""The compiled step of the epidemic gives the numbers of `Epidemic.step`: every probability to the last bit."""

import functools
from typing import Any

import numpy as np

from marl.envs.pairs import LOW
from marl.kernels.compiled import cached_njit
from marl.kernels.steps import PLAIN, STEP

FMA: dict[str, Any] = {"fastmath": {"contract"}}
"""1 - x y is rounded once, which saves a step and changes nothing where y is 0 or 1; 1 - |x y| is rounded twice."""


@cached_njit(forceinline=True, **FMA)
def _advance(
    ints: np.ndarray,
    floats: np.ndarray,
    work: np.ndarray,
    s: np.ndarray,
    a: np.ndarray,
    u: np.ndarray,
    next_s: np.ndarray,
    r: np.ndarray,
    even: bool,
    mutual: bool,
) -> None:
    """Takes one step of all agents. even: b_i w_ij is the same for all j. even and mutual are known when this is compiled.

    ints: states S, floats from one agent to the next (S + 1; 0 if all have the same), then the rows of neighbors in pairs
    (see `in_pairs`), end [n] and pairs. floats: leak [n], b_i w_ij, [n] if even, else two for each pair, then per agent, or
    for all, the probability to stay in every state (in 0: if no neighbor infects) and cost.

    work: what comes out of every agent, the bits of a float, and out of nobody. No branch depends on the state: a number is
    loaded before it is known whether it is wanted, or choosing it would be one.
    """
    n, states, apart = len(s), ints[0], ints[1]
    pair, along = np.uint64(2 + n), np.uint64(n)
    rows = n + (n if even else 2 * (len(ints) - 2 - n))
    for i in range(n):
        source = np.float64(np.float64(s[i] == 1) * (floats[i] if mutual and a[i] else 1.0))
        work[i] = source.view(np.int64)
    work[np.uint64(n)] = 0
    for i in range(n):
        at, state, escaped = rows + i * apart, s[i], 1.0
        leak, stays = floats[i], floats[np.uint64(at + state)]
        through = leak if a[i] else 1.0
        rate = floats[np.uint64(n + i)] if even else 0.0
        end = np.uint64(ints[np.uint64(2 + i)])
        while pair < end:
            source = np.int64(work[np.uint64(ints[pair] & LOW)]).view(np.float64)
            other = np.int64(work[np.uint64(ints[pair] >> 32)]).view(np.float64)
            one = (rate if even else floats[along]) * through * source
            two = (rate if even else floats[along + np.uint64(1)]) * through * other
            escaped *= 1.0 - (abs(one) if mutual else one)
            escaped *= 1.0 - (abs(two) if mutual else two)
            pair, along = pair + np.uint64(1), along + np.uint64(2)
        moved = state + np.int64(u[i, 0] >= stays * (1.0 if state else escaped))
        next_s[i] = moved * np.int64(moved < states)
        r[i] = -np.float64(state == 1) - floats[np.uint64(at + states)] * a[i]


@functools.cache
def step_for(even: bool, mutual: bool) -> Any:
    """Compiles the step for edges that all weigh the same (there is less to read) or not, and shields of one or of both."""

    @cached_njit(STEP, **PLAIN, **FMA)
    def step(
        ints: np.ndarray,
        floats: np.ndarray,
        work: np.ndarray,
        s: np.ndarray,
        a: np.ndarray,
        u: np.ndarray,
        next_s: np.ndarray,
        r: np.ndarray,
    ) -> None:
        _advance(ints, floats, work, s, a, u, next_s, r, even, mutual)

    return step
