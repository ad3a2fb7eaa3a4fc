"""Many steps under policies that do not change, replicas side by side."""

from typing import Any

import numpy as np
from numba import njit, prange

from marl.kernels.noise import fill
from marl.kernels.softmax import FAST, draw
from marl.kernels.steps import Numbers


@njit(cache=True, fastmath=FAST, error_model="numpy")
def rollout_one(
    step: Any,
    numbers: Numbers,
    actions: Any,
    policy: np.ndarray,
    last: np.ndarray,
    key: int,
    s: np.ndarray,
    a: np.ndarray,
    t: int,
    batch: np.ndarray,
    sums: np.ndarray,
) -> int:
    """`rollout` for one replica: the steps taken, or -1 if the environment gave a state that does not exist."""
    done, uniforms = len(batch), numbers.uniforms
    n, count = len(s), len(actions)
    states = len(policy) // (2 * count * n)
    now_s, now_a, next_s, next_a, scratch = s.copy(), a.copy(), s.copy(), a.copy(), np.zeros(numbers.work, np.int64)
    drawn, r = np.empty((n, uniforms + 1)), np.empty(n)
    flat, u = drawn.reshape(drawn.size), drawn[:, :uniforms]
    for k in range(len(batch)):
        fill(key, (t + k + 1) * n * (uniforms + 1), flat)
        step(numbers.ints, numbers.floats, scratch, now_s, now_a, u, next_s, r)
        for i in range(n):
            if next_s[i] < 0 or next_s[i] >= states:
                next_s[i], done = 0, -1
            place: Any = np.uint64(i * states + next_s[i])
            next_a[i] = draw(actions, policy, place * np.uint64(2 * count), last[place], drawn[i, uniforms])
        if batch[k] >= 0:
            for i in range(n):
                sums[batch[k], i] += r[i]
        now_s, next_s, now_a, next_a = next_s, now_s, next_a, now_a
    s[:], a[:] = now_s, now_a
    return done


@njit(cache=True, parallel=True)
def rollout(
    step: Any,
    numbers: Numbers,
    actions: Any,
    policy: np.ndarray,
    last: np.ndarray,
    key: np.ndarray,
    s: np.ndarray,
    a: np.ndarray,
    t: int,
    batch: np.ndarray,
    sums: np.ndarray,
    done: np.ndarray,
) -> None:
    """Steps t .. t + len(batch) - 1; the rewards of the k-th are added to sums[:, batch[k]], or to nothing if that is -1.

    step, numbers: the environment (see `marl.kernels.steps`); actions, policy [B, n S 2 A]: see
    `marl.kernels.softmax`. Shapes: last [n S] (the last legal action), key [B], s, a [B, n], batch
    [steps], sums [B, batches, n], done [B]: the steps taken, or -1 if the environment gave a state that does not exist.
    """
    for b in prange(len(s)):
        done[b] = rollout_one(step, numbers, actions, policy[b], last, key[b], s[b], a[b], t, batch, sums[b])
