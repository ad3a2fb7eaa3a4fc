"""The episodic discounted actor-critic is compiled: many episodes of an actor and a critic of any form.

Layout, Span, Room and Progress are those of `marl.kernels.arguments`, but for eta in Span: one for every episode that ends.
Step k = m T + t is step t of episode m. Mathematics: `marl.trainers.DiscountedActorCritic`; forms: `marl.kernels.forms`.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from marl.kernels.arguments import NO_ROOM, NO_STATE, Layout, Progress, Room, Span
from marl.kernels.compiled import cached_njit
from marl.kernels.forms import (
    FAST,
    add_score,
    count_entries,
    draw_action,
    error_of,
    fetch,
    is_learned,
    learn,
    mark,
    of_replica,
    renew,
    room_to_climb,
    row_of,
    settle,
    value,
)
from marl.kernels.noise import fill
from marl.kernels.steps import Numbers


class Episodes(NamedTuple):
    """These are the episode under way, and E fresh starts, of the episodes after it.

    Shapes: weight [T], gamma^t; s, a [T, B, n], its pairs so far; running [B], its return so far; ended [B], the sum of the
    returns of those that ended; fresh_s, fresh_u [E, B, n], s(0) and the uniform that draws a(0).
    """

    weight: np.ndarray
    s: np.ndarray
    a: np.ndarray
    running: np.ndarray
    ended: np.ndarray
    fresh_s: np.ndarray
    fresh_u: np.ndarray


class Trace(NamedTuple):
    """A trace is the pairs of one replica's episode, z(0) .. z(T). Shapes: all [T + 1, n].

    row, slot: where the policy of s_i and Q_i of the pair begin; learns: whether line 6 changes it.
    """

    s: np.ndarray
    a: np.ndarray
    row: np.ndarray
    slot: np.ndarray
    learns: np.ndarray


@njit
def _visit(
    actions: Any, layout: Layout, policy: Any, critic: Any, trace: Trace, t: int, z: np.ndarray, key: np.ndarray
) -> int:
    """Completes entry t of the trace, whose s and a are there; z, key [n] are room to work in. Returns entries made."""
    s, a, row, slot, learns = trace.s[t], trace.a[t], trace.row[t], trace.slot[t], trace.learns[t]
    states = len(layout.last) // len(s)
    for i in range(len(s)):
        row[i] = row_of(policy, actions, np.uint64(i * states + s[i]))
        z[i] = layout.pair[(i * states + s[i]) * len(actions) + a[i]]
    mark(critic, layout.near, layout.size, z, 0, len(z), key)
    fetch(critic, len(z), key, slot)
    for i in range(len(s)):
        learns[i] = is_learned(critic, i, key[i])
    return settle(critic, len(z), key, slot)


@njit(fastmath=FAST, error_model="numpy")
def _improve(
    actions: Any,
    layout: Layout,
    policy: Any,
    critic: Any,
    trace: Trace,
    weight: np.ndarray,
    eta: float,
    q: np.ndarray,
    climbing: Any,
) -> float:
    """theta_i += eta_m sum_t gamma^t (1/n) sum_{j in N_i^kappa} Q_j(z_N(t)) grad log zeta_i(a_i(t)|s_i(t)).

    Returns a number that is finite iff all of it is. q [n] and climbing (of `room_to_climb`) are there to work in.
    """
    n, check = len(q), 0.0
    for t in range(len(weight)):
        s, a, row, slot, ascent = trace.s[t], trace.a[t], trace.row[t], trace.slot[t], eta / n * weight[t]
        for i in range(n):
            q[i] = value(critic, i, slot[i])  # after the inner loop
        for i in range(n):
            near = q[0] * 0
            for j in range(layout.size[i]):
                near += q[layout.near[i, j]]
            check += near * add_score(policy, actions, s, i, row[i], a[i], ascent * near)
    for t in range(len(weight)):  # the probabilities were those of theta(m) until now
        renew(policy, actions, trace.s[t], trace.row[t], climbing)
    return check


@njit(fastmath=FAST, error_model="numpy")
def advance_one(
    b: int,
    w: int,
    step: Any,
    numbers: Numbers,
    actions: Any,
    layout: Layout,
    policies: Any,
    critics: Any,
    goals: Any,
    room: Room,
    progress: Progress,
    span: Span,
    episodes: Episodes,
) -> None:
    """Does what `advance` does for replica b alone, in the arrays of worker w."""
    n, states, goal = len(layout.states), len(layout.last) // len(layout.states), of_replica(goals, b)
    policy, critic = of_replica(policies, b), of_replica(critics, b)
    first, summed, alpha, eta = span
    weight, horizon, fresh, uniforms = episodes.weight, len(episodes.weight), 0, numbers.uniforms
    trace = Trace(
        np.empty((horizon + 1, n), np.int64),
        np.empty((horizon + 1, n), np.int64),
        np.empty((horizon + 1, n), np.uint64),
        np.empty((horizon + 1, n), np.uint64),
        np.empty((horizon + 1, n), np.bool_),
    )
    z, key, q, delta, r = room.z[w], np.empty(n, np.int64), room.q[w], np.empty(n, room.q.dtype), room.r[w]
    drawn, scratch = room.drawn[w], room.scratch[w]
    flat, u, reward = drawn.reshape(drawn.size), drawn[:, :uniforms], progress.reward[b]
    climbing = room_to_climb(policy, actions, n)

    t, made = first % horizon, 0
    for k in range(horizon):
        for i in range(n):
            trace.s[k, i], trace.a[k, i] = episodes.s[k, b, i], episodes.a[k, b, i]
    for i in range(n):
        trace.s[t, i], trace.a[t, i] = progress.s[b, i], progress.a[b, i]
    for before in range(t + 1):
        made += _visit(actions, layout, policy, critic, trace, before, z, key)
    running, ended = episodes.running[b], episodes.ended[b]
    loss_sum, finite, done = progress.loss[b], progress.finite[b], len(alpha)

    for k in range(len(alpha)):
        s, a, next_s, next_a, next_row = trace.s[t], trace.a[t], trace.s[t + 1], trace.a[t + 1], trace.row[t + 1]
        fill(progress.key[b], (first + k + 1) * n * (uniforms + 1), flat)
        step(numbers.ints, numbers.floats, scratch, s, a, u, next_s, r)  # s(t+1), r(t)
        for i in range(n):
            if next_s[i] < 0 or next_s[i] >= layout.states[i]:
                next_s[i], done = 0, NO_STATE
        for i in range(n):  # a(t+1) from theta(m)
            place = np.uint64(i * states + next_s[i])
            next_row[i] = row_of(policy, actions, place)
            next_a[i] = draw_action(policy, actions, next_s, i, next_row[i], layout.last[place], drawn[i, uniforms])
        made += _visit(actions, layout, policy, critic, trace, t + 1, z, key)

        slot, next_slot, learns = trace.slot[t], trace.slot[t + 1], trace.learns[t]
        loss, check, earned, rate = 0.0, 0.0, 0.0, alpha[k]
        for i in range(n):  # Q at both pairs, before the update
            q[i] = value(critic, i, slot[i])
            delta[i] = error_of(goal, i, r[i], rate, value(critic, i, next_slot[i]), q[i])
            reward[i] += r[i]
            earned += r[i]
        for i in range(n):
            loss += 0.5 * (delta[i] * delta[i])
            if learns[i]:
                learn(critic, i, slot[i], q[i], rate * delta[i])
        running += weight[t] * (earned / n)

        t += 1
        if t == horizon:  # the outer update, and a fresh start
            check = _improve(actions, layout, policy, critic, trace, weight, eta[fresh], q, climbing)
            ended, running, t = ended + running, 0.0, 0
            fresh_s, fresh_a = trace.s[0], trace.a[0]
            for i in range(n):
                fresh_s[i] = episodes.fresh_s[fresh, b, i]
                place = np.uint64(i * states + fresh_s[i])
                row, last = row_of(policy, actions, place), layout.last[place]
                fresh_a[i] = draw_action(policy, actions, fresh_s, i, row, last, episodes.fresh_u[fresh, b, i])
            made += _visit(actions, layout, policy, critic, trace, 0, z, key)
            fresh += 1
        loss_sum += loss
        if np.isfinite(loss + check) and finite == summed + k:
            finite += 1
    for i in range(n):
        progress.s[b, i], progress.a[b, i] = trace.s[t, i], trace.a[t, i]
    progress.loss[b] = loss_sum
    progress.finite[b] = finite
    progress.done[b] = done if count_entries(critics, b, made) else NO_ROOM
    for k in range(horizon):
        for i in range(n):
            episodes.s[k, b, i], episodes.a[k, b, i] = trace.s[k, i], trace.a[k, i]
    episodes.running[b], episodes.ended[b] = running, ended


@cached_njit(parallel=True)
def advance(
    step: Any,
    numbers: Numbers,
    actions: Any,
    layout: Layout,
    policies: Any,
    critics: Any,
    goals: Any,
    room: Room,
    progress: Progress,
    span: Span,
    episodes: Episodes,
) -> None:
    """Takes the steps of `span` for every replica, between `lay_out` and `take_back`; the critic has room for them.

    step, numbers: the environment (see `marl.kernels.steps`); actions, policies, critics, goals: see `marl.kernels.forms`.
    """
    for worker in prange(len(room.s)):
        w = np.int64(worker)  # prange counts unsigned: compiled once with `advance_one` in turn
        for b in range(w, len(progress.s), len(room.s)):
            advance_one(b, w, step, numbers, actions, layout, policies, critics, goals, room, progress, span, episodes)  # type: ignore[arg-type]


@cached_njit()
def advance_in_turn(
    step: Any,
    numbers: Numbers,
    actions: Any,
    layout: Layout,
    policies: Any,
    critics: Any,
    goals: Any,
    room: Room,
    progress: Progress,
    span: Span,
    episodes: Episodes,
) -> None:
    """Does what `advance` does, one replica after the other: no thread has to be woken."""
    for b in range(progress.s.shape[0]):
        advance_one(b, 0, step, numbers, actions, layout, policies, critics, goals, room, progress, span, episodes)
