"""The compiled step of environments given by tables gives the numbers of `LocalMDP.step`."""

import numpy as np

from marl.kernels.compiled import cached_njit
from marl.kernels.noise import ALMOST_ONE
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
    """Takes one step of all agents.

    ints: m, S, rows, then N_i [n, m], S_i [n], and for transition and reward: base [n], two strides [n, m].
    floats: transition rows [rows, S], then reward rows.
    """
    n, m, width, rows = len(s), ints[0], ints[1], ints[2]
    near, sizes = 3, 3 + n * m
    law = sizes + n
    rewards = law + n + 2 * n * m
    for i in range(n):
        row, reward = ints[law + i], ints[rewards + i]
        for j in range(i * m, (i + 1) * m):
            other = ints[near + j]
            row += s[other] * ints[law + n + j] + a[other] * ints[law + n + n * m + j]
            reward += s[other] * ints[rewards + n + j] + a[other] * ints[rewards + n + n * m + j]
        total = 0.0
        for k in range(width):
            total += floats[row * width + k]
        below = min(u[i, len(u[i]) - 1], total * ALMOST_ONE)
        drawn, cdf = 0, 0.0
        for k in range(width):
            cdf += floats[row * width + k]
            if below >= cdf:
                drawn += 1
        next_s[i] = min(drawn, ints[sizes + i] - 1)
        r[i] = floats[rows * width + reward]
