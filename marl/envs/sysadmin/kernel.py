"""The compiled step of SysAdmin gives the numbers of `SysAdmin.step`."""

import numpy as np

from marl.kernels.compiled import cached_njit
from marl.kernels.steps import STEP

CODES = (0, 9, 7, 0, 10, 7, 7, 7, 7)
"""Per state: 8 times the load that is kept, plus which of the eight floats is the chance that the load moves on."""


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
    """Takes one step of all machines.

    ints: crews, actions, CODES, then start [n + 1] of the neighbors, target [n, A], neighbors. floats, eight per machine:
    p_load, p_done_good, p_done_faulty, p_fail, p_dead, what one faulty and one dead neighbor add, 0.

    work: requests per crew (the last one is nobody), then the crew of every machine, then its status, 1 for faulty and
    2^32 for dead, so that one sum counts both. No branch depends on the state.
    """
    n, crews, actions = len(s), ints[0], ints[1]
    start, target = 11, 12 + n
    neighbors, chosen, status = target + n * actions, crews + 1, crews + 1 + n
    for k in range(crews + 1):
        work[k] = 0
    for i in range(n):
        crew = ints[np.uint64(target + i * actions + a[i])]
        work[np.uint64(chosen + i)] = crew
        work[np.uint64(crew)] += 1
        dead = np.int64(s[i] > 5)
        work[np.uint64(status + i)] = (np.int64(s[i] > 2) - dead) | (dead << 32)
    for i in range(n):
        beside = np.int64(0)
        at, stop = np.uint64(neighbors + ints[np.uint64(start + i)]), np.uint64(neighbors + ints[np.uint64(start + i + 1)])
        while at < stop:
            beside += work[np.uint64(status + ints[at])]
            at += np.uint64(1)
        own, now = 8 * i, s[i]
        by_faulty, by_dead = floats[np.uint64(own + 5)], floats[np.uint64(own + 6)]
        influence = np.float64(beside & 0xFFFFFFFF) * by_faulty + np.float64(beside >> 32) * by_dead
        level = np.int64(now > 2) + np.int64(now > 5)
        code = ints[np.uint64(2 + now)]
        worse = np.int64(u[i, 0] < floats[np.uint64(own + 3 + level)] + influence) & np.int64(level < 2)
        on = np.int64(u[i, 1] < floats[np.uint64(own + (code & 7))])
        rebooted = np.int64(work[np.uint64(work[np.uint64(chosen + i)])] == 1) & np.int64(a[i] > 0)
        next_s[i] = (1 - rebooted) * (3 * (level + worse) + (code >> 3) + on)
        r[i] = np.float64(now - 3 * level == 2)
