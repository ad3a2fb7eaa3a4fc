"""The compiled step of traffic signals gives the numbers of `TrafficSignals.step`."""

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
    """Takes one step of all intersections.

    ints: m, (C+1)^4, S, (C+1)^d [4], then near [n, 4], per state its facts [S], per action and state the next one if no
    vehicle moves and no left turn is drawn [2, S], the cells 4 i + d where vehicles arrive [m] and the uniforms that they
    take [m]. floats: l_i [n], p [m].
    Facts: bits 0 and 1: the served cells `axis` and `axis` + 2 have vehicles; bits 2 to 5: cell d is full; bit 6: axis;
    bits 7 and 8: the side by which the cell `axis` is left, the other one by the opposite; above: the number of vehicles.

    work: facts (a signal that advances serves no vehicle), none outside [n + 1], then next states [n + 1]. No branch
    depends on the state.
    """
    n, entries, contents, states = len(s), ints[0], ints[1], ints[2]
    place, near, facts, after = 3, 7, 7 + 4 * n, n + 1
    base, entry = facts + states, facts + 3 * states
    one_east, one_south = ints[4], ints[5]
    for i in range(n):
        work[i] = ints[np.uint64(facts + s[i])] & ~(3 * a[i])
        turns = contents * np.int64(u[i, 0] < floats[i])
        work[np.uint64(after + i)] = ints[np.uint64(base + a[i] * states + s[i])] + turns
    work[np.uint64(n)] = 0
    work[np.uint64(after + n)] = 0
    for i in range(n):
        inside = work[i]
        axis, side = (inside >> 6) & 1, (inside >> 7) & 3
        opposite = side ^ 2
        ahead, behind = ints[np.uint64(near + 4 * i + side)], ints[np.uint64(near + 4 * i + opposite)]
        one = inside & ~(work[np.uint64(ahead)] >> (2 + opposite)) & 1
        two = (inside >> 1) & ~(work[np.uint64(behind)] >> (2 + side)) & 1
        work[np.uint64(after + i)] -= (one + two * one_south) * (1 + axis * (one_east - 1))
        work[np.uint64(after + ahead)] += one * ints[np.uint64(place + opposite)]
        work[np.uint64(after + behind)] += two * ints[np.uint64(place + side)]
        r[i] = -0.25 * np.float64((inside >> 9) - one - two)
    for i in range(n):
        next_s[i] = work[np.uint64(after + i)]
    for k in range(entries):
        cell, column, p = ints[np.uint64(entry + k)], ints[np.uint64(entry + entries + k)], floats[np.uint64(n + k)]
        at, d = np.uint64(cell >> 2), cell & 3
        full = (work[at] >> (2 + d)) & 1
        next_s[at] += ((1 - full) & np.int64(u[at, np.uint64(column)] < p)) * ints[np.uint64(place + d)]
        r[at] -= 0.25 * p * full
