"""The counter-based generator of `marl.core.noise`, number by number."""

import numpy as np
from numba import njit


@njit(cache=True, inline="always")
def uniform(key: int, counter: int) -> float:
    """Output number `counter` of the stream with this key, in [0, 1)."""
    x = np.uint64(key) + np.uint64(counter) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return np.float64(np.int64(x >> np.uint64(11))) * 2.0**-53


@njit(cache=True)
def fill(key: int, first: int, u: np.ndarray, choice: np.ndarray) -> None:
    """The uniforms of one time: those of the environment u [n, U] and that of each agent's action, choice [n].

    `first` is the number of the first one; agent i has the U + 1 numbers from first + i (U + 1) on.
    """
    n, width = u.shape
    for i in range(n):
        for k in range(width):
            u[i, k] = uniform(key, first + i * (width + 1) + k)
        choice[i] = uniform(key, first + i * (width + 1) + width)
