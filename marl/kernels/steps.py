"""Compiled steps of environments: what one function must do so that a run can be compiled with it.

A step has the signature STEP and moves ONE replica: it reads s, a [n] and the uniforms u [n, U], and fills next_s and r
[n]. `ints` and `floats` are the environment's own numbers, laid out as it likes and only read; `work` is room for as many
integers as it asked for, with anything in them. It must give what the environment's `step` gives for the same inputs.
Decorate it with @njit(STEP, cache=True). It runs beside other replicas: it may write to work, next_s and r
alone, and must not raise.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, types

from marl.kernels.noise import ALMOST_ONE

INTS, FLOATS = types.int64[::1], types.float64[::1]
STEP = types.void(INTS, FLOATS, INTS, INTS, INTS, types.float64[:, :], INTS, FLOATS)
"""(ints, floats, work, s, a, u, next_s, r) -> nothing."""


class Numbers(NamedTuple):
    """What a step reads, and what is to be drawn and kept ready for it: U uniforms per agent, room for `work` integers."""

    ints: np.ndarray
    floats: np.ndarray
    work: int
    uniforms: int


class StepArgument(types.WrapperAddressProtocol):
    """A compiled step as an argument of a kernel, known to it by its signature alone.

    So that one kernel serves every environment and is kept on disk; a step handed over as it is would be compiled in.
    """

    def __init__(self, step: Any):
        self._compiled = step.get_compile_result(STEP)  # kept alive, or the address would be that of nothing
        self._address = self._compiled.library.get_pointer_to_function(self._compiled.fndesc.llvm_cfunc_wrapper_name)

    def __wrapper_address__(self) -> int:
        return self._address

    def signature(self) -> Any:
        return STEP


@njit(STEP, cache=True)
def wireless(
    ints: np.ndarray,
    floats: np.ndarray,
    work: np.ndarray,
    s: np.ndarray,
    a: np.ndarray,
    u: np.ndarray,
    next_s: np.ndarray,
    r: np.ndarray,
) -> None:
    """ints: points, actions, any_slot, then target [n, A], bit [n, A], d_i [n]. floats: p_i [n], q_y [points], 0.

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


@njit(STEP, cache=True)
def coloring(
    ints: np.ndarray,
    floats: np.ndarray,
    work: np.ndarray,
    s: np.ndarray,
    a: np.ndarray,
    u: np.ndarray,
    next_s: np.ndarray,
    r: np.ndarray,
) -> None:
    """ints: the two ends of every edge."""
    n = len(s)
    for i in range(n):
        next_s[i] = 2 * a[i] + 1
        r[i] = np.float64(s[i] & 1)
    for e in range(0, len(ints), 2):
        i, j = ints[e], ints[e + 1]
        if s[i] >> 1 == s[j] >> 1:
            next_s[i], next_s[j] = 2 * a[i], 2 * a[j]


@njit(STEP, cache=True)
def tables(
    ints: np.ndarray,
    floats: np.ndarray,
    work: np.ndarray,
    s: np.ndarray,
    a: np.ndarray,
    u: np.ndarray,
    next_s: np.ndarray,
    r: np.ndarray,
) -> None:
    """ints: m, S, rows, then N_i [n, m], S_i [n], and for transition and reward: base [n], two strides [n, m].

    floats: transition rows [rows, S], then reward rows.
    """
    n, m, width, rows = len(s), ints[0], ints[1], ints[2]
    near, sizes = 3, 3 + n * m
    law = sizes + n
    paid = law + n + 2 * n * m
    for i in range(n):
        row, reward = ints[law + i], ints[paid + i]
        for j in range(i * m, (i + 1) * m):
            other = ints[near + j]
            row += s[other] * ints[law + n + j] + a[other] * ints[law + n + n * m + j]
            reward += s[other] * ints[paid + n + j] + a[other] * ints[paid + n + n * m + j]
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
