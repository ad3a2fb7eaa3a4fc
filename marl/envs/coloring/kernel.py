"""The compiled step of the coloring problem gives the numbers of `Coloring.step`."""

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
    """Takes one step of all agents; ints: the two ends of every edge."""
    n = len(s)
    for i in range(n):
        next_s[i] = 2 * a[i] + 1
        r[i] = np.float64(s[i] & 1)
    for e in range(0, len(ints), 2):
        i, j = ints[e], ints[e + 1]
        if s[i] >> 1 == s[j] >> 1:
            next_s[i], next_s[j] = 2 * a[i], 2 * a[j]
