"""The compiled step of the wireless network gives the numbers of `WirelessAccess.step`."""

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
    """Takes one step of all users.

    ints: points, actions, any_slot, then target [n, A], bit [n, A], d_i [n]. floats: p_i [n], q_y [points], 0.

    work: senders per point (the last one is silence), then the point of every user. No branch depends on the state.
    """
    n, points, actions, any_slot = len(s), ints[0], ints[1], ints[2]
    bits, deadline, chosen, success = 3 + n * actions, 3 + 2 * n * actions, points + 1, n
    for k in range(points + 1):
        work[k] = 0
    for i in range(n):
        sends = np.int64(any_slot | (s[i] > 0))
        y = points + sends * (ints[np.uint64(3 + i * actions + a[i])] - points)
        work[np.uint64(chosen + i)] = y
        work[np.uint64(y)] += 1
    for i in range(n):
        y, queue = work[np.uint64(chosen + i)], s[i]
        bit = ints[np.uint64(bits + i * actions + a[i])] & queue if any_slot else queue & -queue
        sent = np.int64(work[np.uint64(y)] == 1) & np.int64(bit > 0) & np.int64(u[i, 0] < floats[np.uint64(success + y)])
        arrived = np.int64(u[i, 1] < floats[i]) << (ints[np.uint64(deadline + i)] - 1)
        next_s[i] = ((queue - sent * bit) >> 1) | arrived
        r[i] = sent
