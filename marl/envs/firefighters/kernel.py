"""The compiled step of the houses gives the numbers of `Firefighters.step`."""

import numpy as np

from marl.kernels.compiled import cached_njit
from marl.kernels.steps import PLAIN, STEP


@cached_njit(STEP, **PLAIN)
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
    """Takes one step of all houses.

    ints: actions A, sides m (2 or 4), then the house that an action visits [n, A], the houses beside each [n, m], L_i [n].
    floats: how probable a change is [n, 12], by visitors (0, 1, 2 or more), burning (no, yes), beside fire (no, yes).

    work: visitors per house, the last one of no house. No branch depends on the state.
    """
    n, actions, sides = len(s), ints[0], ints[1]
    beside = 2 + n * actions
    levels = beside + n * sides
    for i in range(n + 1):
        work[i] = 0
    for i in range(n):
        work[np.uint64(ints[np.uint64(2 + i * actions + a[i])])] += 1
    for i in range(n):
        level, visitors, k = s[i], min(work[i], 2), beside + i * sides
        around = s[np.uint64(ints[np.uint64(k)])] | s[np.uint64(ints[np.uint64(k + 1)])]
        if sides == 4:
            around |= s[np.uint64(ints[np.uint64(k + 2)])] | s[np.uint64(ints[np.uint64(k + 3)])]
        burning = np.int64(level > 0)
        case = 12 * i + 4 * visitors + 2 * burning + np.int64(around > 0)
        higher = level + np.int64(level < ints[np.uint64(levels + i)])
        change = np.int64(visitors == 0) * higher + np.int64(visitors == 1) * (level - burning) - level
        next_s[i] = level + np.int64(u[i, 0] < floats[np.uint64(case)]) * change
        r[i] = -level
