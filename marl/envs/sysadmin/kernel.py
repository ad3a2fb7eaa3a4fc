"""The compiled step of SysAdmin gives the numbers of `SysAdmin.step`."""

import numpy as np

from marl.envs.pairs import LOW
from marl.kernels.compiled import cached_njit
from marl.kernels.steps import PLAIN, STEP

ON, WORSE = (0, 1, 5, 0, 2, 5, 5, 5, 5), (3, 3, 3, 4, 4, 4, 5, 5, 5)
"""Per state: which of the six chances is the chance that the load moves on, and that the status gets worse."""
STAYS = (0, 1, 0, 3, 4, 3, 6, 6, 6)
"""Per state: the next one if neither happens."""
FACTS = tuple(
    on | worse << 3 | (s % 3 == 2) << 6 | STAYS[s] << 7 for s, (on, worse) in enumerate(zip(ON, WORSE, strict=True))
)
STATUS = (0, 0, 0, 1, 1, 1, 1 << 32, 1 << 32, 1 << 32)
"""Per state: 1 for faulty and 2^32 for dead, so that one sum counts both."""


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
    """Takes one step of all machines.

    ints: crews, words per row of targets, chances from one machine to the next (6; 0 if all have the same), FACTS, STATUS,
    then in pairs (see `in_pairs`) the rows of targets, the crew of every action, and after the ends [n] of their rows the
    neighbors. floats: what one faulty and one dead neighbor add [n, 2], then per machine, or for all, the chances p_load,
    p_done_good, p_done_faulty, p_fail, p_dead, and one that no sum makes a chance.

    work: requests per crew, two in a word (the last one is nobody), the crew of every machine, the STATUS of every machine
    and of nobody. No branch depends on the state.
    """
    n, crews, width, apart = len(s), ints[0], ints[1], ints[2]
    facts, statuses, target = 3, 12, 21
    ends = target + n * width
    requests, chosen, pair = work.view(np.int32), crews // 2 + 1, np.uint64(ends + n)
    status = chosen + n
    for k in range(chosen):
        work[k] = 0
    for i in range(n):
        crew = ints[np.uint64(target + i * width + (a[i] >> 1))] >> ((a[i] & 1) << 5) & LOW
        work[np.uint64(chosen + i)] = crew
        requests[np.uint64(crew)] += np.int32(1)
        work[np.uint64(status + i)] = ints[np.uint64(statuses + s[i])]
    requests[np.uint64(crews)] = 0
    work[np.uint64(status + n)] = 0
    for i in range(n):
        beside, end = np.int64(0), np.uint64(ints[np.uint64(ends + i)])
        while pair < end:
            beside += work[np.uint64(status + (ints[pair] & LOW))] + work[np.uint64(status + (ints[pair] >> 32))]
            pair += np.uint64(1)
        own, fact = 2 * n + apart * i, ints[np.uint64(facts + s[i])]
        by_faulty, by_dead = floats[np.uint64(2 * i)], floats[np.uint64(2 * i + 1)]
        influence = np.float64(beside & LOW) * by_faulty + np.float64(beside >> 32) * by_dead
        worse = np.int64(u[i, 0] < floats[np.uint64(own + (fact >> 3 & 7))] + influence)
        on = np.int64(u[i, 1] < floats[np.uint64(own + (fact & 7))])
        stays = np.int64(requests[np.uint64(work[np.uint64(chosen + i)])] != 1)
        next_s[i] = stays * ((fact >> 7) + 3 * worse + on)
        r[i] = np.float64(fact >> 6 & 1)
