"""Many steps under policies that do not change are written down, replicas side by side."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from marl.kernels.arguments import NO_STATE
from marl.kernels.compiled import cached_njit
from marl.kernels.forms import FAST, draw_action, of_replica, row_of
from marl.kernels.noise import fill
from marl.kernels.steps import Numbers


class Sizes(NamedTuple):
    """Says what the agents may do, and how many policies there are: that of row b is policy b modulo `replicas`.

    Shapes: states [n], how many an agent has; last [n, S], the last legal action.
    """

    states: np.ndarray
    last: np.ndarray
    replicas: int


class Record(NamedTuple):
    """Says what happened. Shapes: s, a [steps + 1, B, n], whose first entries are the start; r [steps, B, n]; done [B].

    done: the steps taken, or `NO_STATE` if the environment gave a state that does not exist.
    """

    s: np.ndarray
    a: np.ndarray
    r: np.ndarray
    done: np.ndarray


@njit(fastmath=FAST, error_model="numpy")
def rollout_one(
    b: int, step: Any, numbers: Numbers, actions: Any, sizes: Sizes, policies: Any, key: np.ndarray, t: int, record: Record
) -> None:
    """Does what `rollout` does for row b alone."""
    s, a, r, policy = record.s[:, b], record.a[:, b], record.r[:, b], of_replica(policies, b % sizes.replicas)
    n, uniforms = len(sizes.states), numbers.uniforms
    now_s, now_a = s[0].copy(), a[0].copy()
    next_s, next_a, scratch = now_s.copy(), now_a.copy(), np.zeros(numbers.work, np.int64)
    drawn, rewards, last = np.empty((n, uniforms + 1)), np.empty(n), sizes.last.reshape(-1)
    flat, u, done = drawn.reshape(drawn.size), drawn[:, :uniforms], len(r)
    states = sizes.last.shape[1]
    for k in range(len(r)):
        fill(key[b], (t + k + 1) * n * (uniforms + 1), flat)
        step(numbers.ints, numbers.floats, scratch, now_s, now_a, u, next_s, rewards)
        for i in range(n):
            if next_s[i] < 0 or next_s[i] >= sizes.states[i]:
                next_s[i], done = 0, NO_STATE
        for i in range(n):
            place = np.uint64(i * states + next_s[i])
            row = row_of(policy, actions, place)
            next_a[i] = draw_action(policy, actions, next_s, i, row, last[place], drawn[i, uniforms])
            s[k + 1, i], a[k + 1, i], r[k, i] = next_s[i], next_a[i], rewards[i]
        now_s, next_s, now_a, next_a = next_s, now_s, next_a, now_a
    record.done[b] = done


@cached_njit(parallel=True)
def rollout(
    step: Any, numbers: Numbers, actions: Any, sizes: Sizes, policies: Any, key: np.ndarray, t: int, record: Record
) -> None:
    """Fills `record` with the steps from t on; key [B]: the noise of every row.

    step, numbers: the environment (see `marl.kernels.steps`); actions, policies: see `marl.kernels.forms`.
    """
    for b in prange(record.s.shape[1]):
        own = np.int64(b)  # prange counts unsigned: compiled once with `rollout_one` in turn
        rollout_one(own, step, numbers, actions, sizes, policies, key, t, record)  # type: ignore[arg-type]


@cached_njit()
def rollout_in_turn(
    step: Any, numbers: Numbers, actions: Any, sizes: Sizes, policies: Any, key: np.ndarray, t: int, record: Record
) -> None:
    """Does what `rollout` does, one row after the other: no thread has to be woken."""
    for b in range(record.s.shape[1]):
        rollout_one(b, step, numbers, actions, sizes, policies, key, t, record)
