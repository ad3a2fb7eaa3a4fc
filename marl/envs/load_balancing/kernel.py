"""The compiled step of load balancing gives the numbers of `LoadBalancing.step`."""

import numpy as np

from marl.envs.pairs import LOW
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
    """Takes one step of all agents.

    ints: levels, B_i [n], where the queues of agent i begin [n], queues in pairs (see `in_pairs`). floats: mu_i [n],
    lam_i [n], h.

    work, read as float64: probabilities of room 0, 1, ... in every queue, and one place for what is beyond. No more
    levels are kept than other agents can fill, since r_i asks for room 0 alone. No branch depends on the state.
    """
    n, levels, holding = len(s), ints[0], floats[-1]
    row, room_of = levels + 1, work.view(np.float64)
    for k in range(n * row):
        room_of[k] = 0.0
    for i in range(n):
        busy = np.int64(s[i] > 0)
        room, finishes = ints[1 + i] - s[i], floats[i] * busy
        room_of[np.uint64(i * row + min(room + 1, levels))] = finishes
        room_of[np.uint64(i * row + min(room, levels))] = 1.0 - finishes
        next_s[i] = s[i] - (busy & np.int64(u[i, 0] < floats[i]))
        r[i] = -holding * s[i]
    for i in range(n):
        pair, p = ints[np.uint64(ints[1 + n + i] + (a[i] >> 1))], floats[n + i]
        j = pair >> ((a[i] & 1) << 5) & LOW
        next_s[np.uint64(j)] += np.int64(u[i, 1] < p)
        first = j * row
        here = room_of[np.uint64(first)]
        r[np.uint64(j)] -= p * here
        for k in range(first + 1, first + levels):
            above = room_of[np.uint64(k)]
            filled = p * above
            room_of[np.uint64(k - 1)] = here + filled
            here = above - filled
        room_of[np.uint64(first + levels - 1)] = here
    for i in range(n):
        next_s[i] = min(next_s[i], ints[1 + i])
