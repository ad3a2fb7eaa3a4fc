"""This is the counter-based generator of `marl.core.noise`, number by number."""

import numpy as np

from marl.kernels.compiled import cached_njit

ALMOST_ONE = 1.0 - 2.0**-53
"""The largest number that can be drawn."""


@cached_njit(forceinline=True)
def fill(key: int, first: int, u: np.ndarray) -> None:
    """u <- outputs number first, first + 1, ... of the stream with this key, in [0, 1). Shapes: u [any]."""
    for k in range(len(u)):
        x = np.uint64(key) + np.uint64(first + k) * np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
        u[k] = np.float64(np.int64(x >> np.uint64(11))) * 2.0**-53
