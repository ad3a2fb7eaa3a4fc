"""Rollouts and what is learned from them are taken in one loop, for policies and critics that are linear forms.

Each replica takes K steps under one policy, then a step of critic and actor on the means over them; see
`marl.trainers.RolloutActorCritic`, whose equations these are.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from marl.kernels.arguments import NO_STATE
from marl.kernels.compiled import cached_njit
from marl.kernels.forms import (
    FAST,
    add_logits,
    add_value,
    descend,
    error_of,
    logits_at,
    of_replica,
    value_at,
    worths_at,
)
from marl.kernels.noise import fill
from marl.kernels.rollout import Record
from marl.kernels.softmax_arithmetic import draw_from_logits, write_probabilities
from marl.kernels.steps import Numbers


class Lesson(NamedTuple):
    """This is what is learned and how.

    Shapes: states [n], how many an agent has; pair [n, S, A], the number of a pair, below 0 if illegal; last [n, S], the
    last legal action; near [n, m], size [n]: the neighborhoods of the critic.
    all_actions: whether the actor climbs the values of all its actions; reach: discount times trace decay.
    alpha, eta, entropy, rate [rollouts]: step sizes of critic and actor, the weight of the entropy, the step size of mu.
    """

    states: np.ndarray
    pair: np.ndarray
    last: np.ndarray
    near: np.ndarray
    size: np.ndarray
    all_actions: bool
    reach: float
    alpha: np.ndarray
    eta: np.ndarray
    entropy: np.ndarray
    rate: np.ndarray


class Told(NamedTuple):
    """Says how it went. Shapes: reward [B, n], loss [B], sums over steps; finite [B], see `marl.trainers.trainer.Interval`.

    steps: how many steps the interval had before.
    """

    reward: np.ndarray
    loss: np.ndarray
    finite: np.ndarray
    steps: int


@njit(error_model="numpy", fastmath=FAST)
def _value_errors(b: int, critic: Any, goal: Any, lesson: Lesson, record: Record, z: np.ndarray, q: np.ndarray) -> Any:
    """Returns by how much lambda returns differ from values, [K, n]; fills pairs z and values q, [K + 1, n]."""
    length, n = len(record.r), z.shape[1]
    for k in range(length + 1):
        for i in range(n):
            z[k, i] = lesson.pair[i, record.s[k, b, i], record.a[k, b, i]]
        for i in range(n):
            q[k, i] = value_at(critic, z[k], i)
    errors = np.empty((length, n))
    for i in range(n):
        later = 0.0
        for k in range(length - 1, -1, -1):
            delta = error_of(goal, i, record.r[k, b, i], 0.0, q[k + 1, i], q[k, i])  # mu stays
            later = delta + lesson.reach * later
            errors[k, i] = later
    return errors


@njit(error_model="numpy", fastmath=FAST)
def _slopes(actions: Any, rows: np.ndarray, at: int, weight: float, worth: np.ndarray, slope: np.ndarray) -> float:
    """Fills slope with the gradient by the logits of sum_x p_x worth_x + weight entropy(p); returns that sum.

    rows: logits, then probabilities, from `at` on.
    """
    first, mean, disorder, top = at + len(actions), 0.0, 0.0, 0
    for x in range(len(actions)):
        mean += rows[first + x] * worth[x]
        top = x if rows[first + x] > rows[first + top] else top
    for x in range(len(actions)):
        slope[x] = rows[first + x] * (worth[x] - mean)
    if weight != 0.0:
        shift = rows[at + top] - np.log(rows[first + top])
        for x in range(len(actions)):
            disorder -= rows[first + x] * (rows[at + x] - shift) if rows[first + x] > 0.0 else 0.0
        for x in range(len(actions)):
            p = rows[first + x]
            slope[x] -= weight * p * (rows[at + x] - shift + disorder) if p > 0.0 else 0.0
    return mean + weight * disorder


@njit(error_model="numpy", fastmath=FAST)
def learn_one(
    b: int,
    count: int,
    known: int,
    actions: Any,
    policy: Any,
    critic: Any,
    goal: Any,
    actor: Any,
    lesson: Lesson,
    record: Record,
    rows: np.ndarray,
    gradient: np.ndarray,
) -> Any:
    """Learns from the rollout number `count` of replica b; returns (the sum of squared errors / 2, what was climbed).

    known: the first step at which `rows` [K n 2 A] holds logits and probabilities of the policy already.
    """
    length, n, width = len(record.r), record.s.shape[2], len(actions)
    z, q = np.empty((length + 1, n), np.int64), np.empty((length + 1, n))
    errors = _value_errors(b, critic, goal, lesson, record, z, q)
    worth, slope, climbed, loss = np.empty(width), np.empty(width), 0.0, 0.0
    share, weight = -1.0 / (length * n), lesson.entropy[count]
    for k in range(length):
        s = record.s[k, b]
        for i in range(n):
            at = (k * n + i) * 2 * width
            if k < known:
                logits_at(policy, actions, s, i, rows, at)
                write_probabilities(actions, rows, np.uint64(at))
            if lesson.all_actions:
                worths_at(critic, actions, z[k], i, lesson.pair[i, s[i]], worth)
            else:
                total, a = 0.0, record.a[k, b, i]
                for j in range(lesson.size[i]):
                    total += q[k, lesson.near[i, j]]
                for x in range(width):
                    worth[x] = 0.0
                worth[a] = total / rows[at + width + a]  # p_a times its score is the gradient of p_a
            climbed -= share * _slopes(actions, rows, at, weight, worth, slope)
            for x in range(width):
                slope[x] *= share
            add_logits(policy, actions, s, i, slope, gradient)
            loss += 0.5 * errors[k, i] * errors[k, i]
    for i in range(n):
        r, following, present = 0.0, 0.0, 0.0
        for k in range(length):
            r, following, present = r + record.r[k, b, i], following + q[k + 1, i], present + q[k, i]
        error_of(goal, i, r / length, lesson.rate[count], following / length, present / length)
    for k in range(length):
        for i in range(n):
            add_value(critic, z[k], i, lesson.alpha[count] / length * errors[k, i], critic.weight)
    descend(actor, policy.weight.reshape(-1), gradient.reshape(-1), lesson.eta[count], count)
    return loss, climbed


@njit(error_model="numpy", fastmath=FAST)
def advance_one(
    b: int,
    step: Any,
    numbers: Numbers,
    actions: Any,
    policies: Any,
    critics: Any,
    goals: Any,
    actors: Any,
    key: np.ndarray,
    t: int,
    filled: int,
    steps: int,
    lesson: Lesson,
    record: Record,
    gradients: np.ndarray,
    told: Told,
) -> None:
    """Does what `advance` does for replica b alone."""
    policy, critic, goal, actor = (
        of_replica(policies, b),
        of_replica(critics, b),
        of_replica(goals, b),
        of_replica(actors, b),
    )
    length, n, uniforms, width = len(record.r), len(lesson.states), numbers.uniforms, len(actions)
    scratch, drawn = np.zeros(numbers.work, np.int64), np.empty((n, uniforms + 1))
    flat, u, rows = drawn.reshape(drawn.size), drawn[:, :uniforms], np.empty((length + 1) * n * 2 * width)
    k, known, count, done, before, counted = filled, filled + 1, 0, 0, told.steps, 0
    for taken in range(1, steps + 1):
        if k == length:
            record.s[0, b], record.a[0, b], k = record.s[length, b], record.a[length, b], 0
        now, following, r = record.s[k, b], record.s[k + 1, b], record.r[k, b]
        fill(key[b], (t + taken) * n * (uniforms + 1), flat)
        step(numbers.ints, numbers.floats, scratch, now, record.a[k, b], u, following, r)
        for i in range(n):
            if following[i] < 0 or following[i] >= lesson.states[i]:
                following[i], done = 0, NO_STATE
        k += 1
        for i in range(n):
            at, last = (k * n + i) * 2 * width, lesson.last[i, following[i]]
            logits_at(policy, actions, following, i, rows, at)
            record.a[k, b, i] = draw_from_logits(actions, rows, np.uint64(at), last, drawn[i, uniforms])
            told.reward[b, i] += r[i]
        if k == length or taken == steps:
            told.finite[b] += taken - counted if told.finite[b] == before + counted else 0
            counted = taken
        if k == length:
            given = policy, critic, goal, actor
            loss, climbed = learn_one(b, count, known, actions, *given, lesson, record, rows, gradients[b])
            told.loss[b] += loss
            told.finite[b] -= told.finite[b] == before + counted and not np.isfinite(loss + climbed)
            known, count = 1, count + 1
    record.done[b] = steps if done == 0 else done


@cached_njit(parallel=True)
def advance(
    step: Any,
    numbers: Numbers,
    actions: Any,
    policies: Any,
    critics: Any,
    goals: Any,
    actors: Any,
    key: np.ndarray,
    t: int,
    filled: int,
    steps: int,
    lesson: Lesson,
    record: Record,
    gradients: np.ndarray,
    told: Told,
) -> None:
    """Takes so many steps from step t on, and learns whenever a rollout is full, which has `filled` steps at first.

    step, numbers: the environment (see `marl.kernels.steps`); policies, critics, goals, actors: see `marl.kernels.forms`.
    key [B]: the noise of every replica. record: of the present rollout. gradients: as many zeros as the policies have
    parameters.
    """
    for cell in prange(len(key)):
        b = np.int64(cell)  # prange counts unsigned
        forms = policies, critics, goals, actors
        advance_one(b, step, numbers, actions, *forms, key, t, filled, steps, lesson, record, gradients, told)  # type: ignore[arg-type]


@cached_njit()
def advance_in_turn(
    step: Any,
    numbers: Numbers,
    actions: Any,
    policies: Any,
    critics: Any,
    goals: Any,
    actors: Any,
    key: np.ndarray,
    t: int,
    filled: int,
    steps: int,
    lesson: Lesson,
    record: Record,
    gradients: np.ndarray,
    told: Told,
) -> None:
    """Does what `advance` does, one replica after the other: no thread has to be woken."""
    forms = policies, critics, goals, actors
    for b in range(len(key)):
        advance_one(b, step, numbers, actions, *forms, key, t, filled, steps, lesson, record, gradients, told)
