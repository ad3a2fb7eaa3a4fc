"""The compiled step of the epidemic gives the numbers of `Epidemic.step`, to the last bit of every probability."""

import numpy as np

from marl.kernels.compiled import cached_njit
from marl.kernels.steps import STEP


@cached_njit(forceinline=True)
def _advance(
    ints: np.ndarray,
    floats: np.ndarray,
    s: np.ndarray,
    a: np.ndarray,
    u: np.ndarray,
    next_s: np.ndarray,
    r: np.ndarray,
    mutual: bool,
) -> None:
    """Takes one step of all agents.

    ints: states S, then the compressed rows, start [n + 1] and node [2 E]. floats: per agent the probability to stay in every
    state (in 0: if no neighbor infects) and the cost, [n, S + 1]; then the factors, [2 or 4, 2 E], of a_i + 2 a_j.
    No branch depends on the state.
    """
    n, states = len(s), ints[0]
    entries, node, own = ints[1 + n], 2 + n, states + 1
    for i in range(n):
        state, escaped, row = s[i], 1.0, n * own + a[i] * entries
        for k in range(ints[np.uint64(1 + i)], ints[np.uint64(2 + i)]):
            j = np.uint64(ints[np.uint64(node + k)])
            factor = floats[np.uint64(row + k + 2 * entries * a[j])] if mutual else floats[np.uint64(row + k)]
            escaped *= factor if s[j] == 1 else 1.0
        stays = floats[np.uint64(i * own + state)] * (1.0 if state else escaped)
        moved = state + np.int64(u[i, 0] >= stays)
        next_s[i] = moved * np.int64(moved < states)
        r[i] = -np.float64(state == 1) - floats[np.uint64(i * own + states)] * a[i]


@cached_njit(STEP)
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
    """Takes one step where a shield protects its bearer only; there are two factors of an entry."""
    _advance(ints, floats, s, a, u, next_s, r, False)


@cached_njit(STEP)
def mutual_step(
    ints: np.ndarray,
    floats: np.ndarray,
    work: np.ndarray,
    s: np.ndarray,
    a: np.ndarray,
    u: np.ndarray,
    next_s: np.ndarray,
    r: np.ndarray,
) -> None:
    """Takes one step where a shield protects the neighbors too; there are four factors of an entry."""
    _advance(ints, floats, s, a, u, next_s, r, True)
