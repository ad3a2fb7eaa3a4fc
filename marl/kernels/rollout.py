"""Many steps under policies that do not change, written down, replicas side by side."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from marl.kernels.noise import fill
from marl.kernels.softmax import FAST, draw, exp
from marl.kernels.steps import Numbers


class Sampler(NamedTuple):
    """Policies to draw from. Shapes: states [n], how many an agent has; last [n S], the last legal action; rows

    [B, n S 2 A] (see `marl.kernels.softmax`).

    If the agents see their neighbors' states, rows is [B, 0] and zeta_i(a|s) is proportional to
    exp(sum_j theta[i, j, s_i, s_near(i,j), a]) over the legal a: near [n, m], size [n], legal [n, S, A], theta
    [B, n, m, S, S, A]; else theta is [B, 0, 0, 0, 0, 0].
    """

    states: np.ndarray
    last: np.ndarray
    rows: np.ndarray
    near: np.ndarray
    size: np.ndarray
    legal: np.ndarray
    theta: np.ndarray


class Record(NamedTuple):
    """What happened. Shapes: s, a [steps + 1, B, n], whose first entries are the start; r [steps, B, n]; done [B].

    done: the steps taken, or -1 if the environment gave a state that does not exist.
    """

    s: np.ndarray
    a: np.ndarray
    r: np.ndarray
    done: np.ndarray


@njit(cache=True, inline="always", fastmath=FAST, error_model="numpy")
def _seen(actions: Any, sampler: Sampler, theta: np.ndarray, s: np.ndarray, i: int, row: np.ndarray) -> None:
    """row [2 A] <- logits and probabilities of agent i where the agents are in s."""
    count, top, total = len(actions), -np.inf, 0.0
    for x in range(count):
        row[x] = -np.inf
        if sampler.legal[i, s[i], x]:
            logit = 0.0
            for j in range(sampler.size[i]):
                logit += theta[i, j, s[i], s[sampler.near[i, j]], x]
            row[x] = logit
            top = max(top, logit)
    for x in range(count):
        row[count + x] = exp(row[x] - top)
        total += row[count + x]
    for x in range(count):
        row[count + x] /= total


@njit(cache=True, fastmath=FAST, error_model="numpy")
def rollout_one(
    b: int, step: Any, numbers: Numbers, actions: Any, sampler: Sampler, key: np.ndarray, t: int, record: Record
) -> None:
    """`rollout` for replica b alone."""
    s, a, r = record.s[:, b], record.a[:, b], record.r[:, b]
    (n, states, count), uniforms = sampler.legal.shape, numbers.uniforms
    rows, theta, sees = sampler.rows[b], sampler.theta[b], sampler.rows.shape[1] == 0
    now_s, now_a = s[0].copy(), a[0].copy()
    next_s, next_a, scratch = now_s.copy(), now_a.copy(), np.zeros(numbers.work, np.int64)
    drawn, paid, row = np.empty((n, uniforms + 1)), np.empty(n), np.empty(2 * count)
    flat, u, done = drawn.reshape(drawn.size), drawn[:, :uniforms], len(r)
    for k in range(len(r)):
        fill(key[b], (t + k + 1) * n * (uniforms + 1), flat)
        step(numbers.ints, numbers.floats, scratch, now_s, now_a, u, next_s, paid)
        for i in range(n):
            if next_s[i] < 0 or next_s[i] >= sampler.states[i]:
                next_s[i], done = 0, -1
        for i in range(n):
            place: Any = np.uint64(i * states + next_s[i])
            if sees:
                _seen(actions, sampler, theta, next_s, i, row)
                next_a[i] = draw(actions, row, 0, sampler.last[place], drawn[i, uniforms])
            else:
                next_a[i] = draw(actions, rows, place * np.uint64(2 * count), sampler.last[place], drawn[i, uniforms])
            s[k + 1, i], a[k + 1, i], r[k, i] = next_s[i], next_a[i], paid[i]
        now_s, next_s, now_a, next_a = next_s, now_s, next_a, now_a
    record.done[b] = done


@njit(cache=True, parallel=True)
def rollout(step: Any, numbers: Numbers, actions: Any, sampler: Sampler, key: np.ndarray, t: int, record: Record) -> None:
    """Fills `record` with the steps from t on; key [B]: the noise of every replica.

    step, numbers: the environment (see `marl.kernels.steps`); actions: see `marl.kernels.softmax`.
    """
    for b in prange(record.s.shape[1]):
        rollout_one(b, step, numbers, actions, sampler, key, t, record)


@njit(cache=True)
def rollout_in_turn(
    step: Any, numbers: Numbers, actions: Any, sampler: Sampler, key: np.ndarray, t: int, record: Record
) -> None:
    """`rollout`, one replica after the other: no thread has to be woken."""
    for b in range(record.s.shape[1]):
        rollout_one(b, step, numbers, actions, sampler, key, t, record)
