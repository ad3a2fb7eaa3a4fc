"""The compiled step of scheduling on a conflict graph gives the numbers of `Scheduling.step`."""

import numpy as np

from marl.kernels.compiled import cached_njit
from marl.kernels.steps import STEP


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
    """Takes one step of all links.

    ints: per link where its neighbors end, counted in `ints` [n], B_i [n], then the neighbors in compressed rows.
    floats: lam_i, q_i, -1 / B_i [n]. No branch depends on the state.
    """
    n = len(s)
    k = 2 * n
    for i in range(n):
        busy, end = 0, ints[i]
        while k < end:
            busy |= a[np.uint64(ints[np.uint64(k)])]
            k += 1
        chance = floats[np.uint64(n + i)] * np.float64(a[i] & ~busy)
        buffer, arrival = ints[np.uint64(n + i)], floats[i]
        after = s[i] - np.int64(u[i, 0] < chance) + np.int64(u[i, 1] < arrival)
        next_s[i] = min(after, buffer)
        r[i] = s[i] * floats[np.uint64(2 * n + i)] - np.float64(s[i] == buffer) * arrival * (1.0 - chance)
