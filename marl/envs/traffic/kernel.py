"""The compiled step of traffic signals gives the numbers of `TrafficSignals.step`."""

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
    """Takes one step of all intersections.

    ints: C, 2 * elapsed, (C+1)^4, S, m, (C+1)^d [4], then near [n, 4], per state what is in it [S], per action and state
    the next one if no vehicle moves and no left turn is drawn [2, S], the cells 4 i + d where vehicles arrive [m].
    floats: l_i [n], p [m].
    What is in a state: vehicles of cell d in bits 8 d to 8 d + 7, axis in bit 32, in bits 33 and 34 the side by which the
    cell `axis` is left, above them all vehicles. The cell `axis` + 2 is left by the opposite side.

    work: what is in every state and nothing outside [n + 1], then next states [n + 1]. No branch depends on the state.
    """
    n, capacity, contents, states, entries = len(s), ints[0], ints[2], ints[3], ints[4]
    near, after = 9, n + 1
    packed = near + 4 * n
    base, entry = packed + states, packed + 3 * states
    for i in range(n):
        work[i] = ints[np.uint64(packed + s[i])]
        work[np.uint64(after + i)] = ints[np.uint64(base + a[i] * states + s[i])]
    work[n] = 0
    work[np.uint64(after + n)] = 0
    for i in range(n):
        inside, green = work[i], 1 - a[i]
        axis, side = (inside >> 32) & 1, (inside >> 33) & 3
        other = side ^ 2
        there, back = ints[np.uint64(near + 4 * i + side)], ints[np.uint64(near + 4 * i + other)]
        one = green & np.int64((inside >> (8 * axis)) & 255 > 0)
        one &= np.int64((work[np.uint64(there)] >> (8 * other)) & 255 < capacity)
        two = green & np.int64((inside >> (8 * axis + 16)) & 255 > 0)
        two &= np.int64((work[np.uint64(back)] >> (8 * side)) & 255 < capacity)
        work[np.uint64(after + i)] -= one * ints[np.uint64(5 + axis)] + two * ints[np.uint64(7 + axis)]
        work[np.uint64(after + there)] += one * ints[np.uint64(5 + other)]
        work[np.uint64(after + back)] += two * ints[np.uint64(5 + side)]
        r[i] = -0.25 * np.float64((inside >> 35) - one - two)
    for i in range(n):
        next_s[i] = work[np.uint64(after + i)] + contents * np.int64(u[i, 4] < floats[i])
    for k in range(entries):
        cell, p = ints[np.uint64(entry + k)], floats[np.uint64(n + k)]
        i, d = cell >> 2, cell & 3
        full = np.int64((work[np.uint64(i)] >> (8 * d)) & 255 == capacity)
        arrived = (1 - full) & np.int64(u[np.uint64(i), np.uint64(d)] < p)
        next_s[np.uint64(i)] += arrived * ints[np.uint64(5 + d)]
        r[np.uint64(i)] -= 0.25 * p * full
