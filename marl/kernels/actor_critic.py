"""Algorithm 1 is compiled: many steps of an actor and a critic of any form, replicas side by side.

Numbers as the trainer keeps them; the paper's line numbers beside the code. What policy and critic are is said by their
forms (see `marl.kernels.forms`). An agent's two places in the critic, now and next, may coincide: both are read first.
"""

from typing import Any

import numpy as np
from numba import njit, prange

from marl.kernels.arguments import NO_ROOM, NO_STATE, Layout, Progress, Span
from marl.kernels.compiled import cached_njit
from marl.kernels.forms import (
    FAST,
    begin,
    climb,
    count_entries,
    draw_action,
    error_of,
    fetch,
    fetch_row,
    finish,
    is_learned,
    learn,
    learned,
    mark,
    of_replica,
    rescaled,
    room_for_values,
    room_to_climb,
    row_of,
    settle,
    value,
)
from marl.kernels.noise import fill
from marl.kernels.prefetch import prefetch
from marl.kernels.softmax_arithmetic import AHEAD, BLOCK
from marl.kernels.steps import Numbers


@njit(fastmath=FAST, error_model="numpy")
def advance_one(
    b: int,
    step: Any,
    numbers: Numbers,
    actions: Any,
    layout: Layout,
    policies: Any,
    critics: Any,
    goals: Any,
    scales: Any,
    progress: Progress,
    span: Span,
) -> None:
    """Does what `advance` does for replica b alone."""
    (n, states), count = layout.last.shape, len(actions)
    pair, last, choice = layout.pair.reshape(-1), layout.last.reshape(-1), layout.choice.reshape(-1)
    policy, critic = of_replica(policies, b), of_replica(critics, b)
    goal, scale = of_replica(goals, b), of_replica(scales, b)
    t, summed, alpha, eta = span
    uniforms, reward = numbers.uniforms, progress.reward[b]
    s, a = progress.s[b].copy(), progress.a[b].copy()
    next_s, next_a, z, key, scratch = s.copy(), a.copy(), s.copy(), s.copy(), np.zeros(numbers.work, np.int64)
    row, next_row = np.empty(n, np.uint64), np.empty(n, np.uint64)
    slot, next_slot = np.empty(n, np.uint64), np.empty(n, np.uint64)
    learns, next_learns = np.empty(n, np.bool_), np.empty(n, np.bool_)
    drawn, r = np.empty((n, uniforms + 1)), np.empty(n)
    flat, u = drawn.reshape(drawn.size), drawn[:, :uniforms]
    chooser, next_chooser, choosing = np.empty(n, np.uint64), np.empty(n, np.uint64), 0
    q, delta, gain = room_for_values(critic, n), room_for_values(critic, n), np.empty(n)
    room = room_to_climb(policy, actions, min(n, BLOCK))
    for i in range(n):
        row[i] = row_of(policy, actions, np.uint64(i * states + s[i]))
        chooser[choosing] = i
        choosing += choice[i * states + s[i]]
        z[i] = pair[(i * states + s[i]) * count + a[i]]
    mark(critic, layout.near, layout.size, z, key)
    fetch(critic, key, slot)
    made = settle(critic, key, slot)
    for i in range(n):
        learns[i] = is_learned(critic, i, key[i])
    loss_sum, finite, done = progress.loss[b], progress.finite[b], len(alpha)

    for k in range(len(alpha)):
        fill(progress.key[b], (t + k + 1) * n * (uniforms + 1), flat)
        step(numbers.ints, numbers.floats, scratch, s, a, u, next_s, r)  # line 3, first half of 4

        for i in range(n):
            if next_s[i] < 0 or next_s[i] >= layout.states[i]:
                next_s[i], done = 0, NO_STATE
        next_choosing = 0
        for i in range(n):  # line 4: a(t+1) from theta(t)
            if n > BLOCK:  # rows of so many agents are far away: ask for those that come soon
                soon = min(i + AHEAD, n - 1)
                ahead = np.uint64(soon * states + next_s[soon])
                prefetch(pair, ahead * np.uint64(count))  # type: ignore[call-arg]
                fetch_row(policy, actions, ahead)
            place = np.uint64(i * states + next_s[i])
            next_row[i] = row_of(policy, actions, place)
            next_a[i] = draw_action(policy, actions, next_s, i, next_row[i], last[place], drawn[i, uniforms])
            z[i] = pair[place * np.uint64(count) + np.uint64(next_a[i])]
            next_chooser[next_choosing] = i
            next_choosing += choice[place]
        mark(critic, layout.near, layout.size, z, key)
        fetch(critic, key, next_slot)

        for i in range(n):
            q[i] = value(critic, i, slot)  # Q^t, before line 6
        ascent = rescaled(scale, eta[k] / n)  # with Gamma of line 8
        rate, loss = alpha[k], 0.0
        for c in range(choosing):  # line 7, for the agents that have a choice: the others' theta stays as it is
            i = chooser[c]
            near = q[0] * 0
            for j in range(layout.size[i]):
                near += q[layout.near[i, j]]
            gain[c] = ascent * near
        check = climb(policy, actions, s, a, row, chooser, choosing, gain, room)  # line 8, while cells come from memory

        made += settle(critic, key, next_slot)
        for i in range(n):  # agent i's two places may coincide: both are read before line 6 writes
            gained = r[i]
            reward[i] += gained
            delta[i] = error_of(goal, i, gained, rate, value(critic, i, next_slot), q[i])  # line 5
            next_learns[i] = is_learned(critic, i, key[i])
        for i in range(n):
            loss += 0.5 * (delta[i] * delta[i])
            if learns[i]:
                learn(critic, i, slot, q[i], rate * delta[i])  # line 6, with mu before line 5
                learned(scale, critic, slot[i], q[i])

        loss_sum += loss
        if np.isfinite(loss + check) and finite == summed + k:
            finite += 1
        s, next_s, a, next_a = next_s, s, next_a, a
        row, next_row, slot, next_slot, learns, next_learns = next_row, row, next_slot, slot, next_learns, learns
        chooser, next_chooser, choosing = next_chooser, chooser, next_choosing
    for i in range(n):
        progress.s[b, i], progress.a[b, i] = s[i], a[i]
    progress.loss[b] = loss_sum
    progress.finite[b] = finite
    progress.done[b] = done if count_entries(critics, b, made) else NO_ROOM


@cached_njit()
def lay_out(form: Any, actions: Any, laid_out: Any) -> None:
    """Calls `begin` of a policy form: writes what it has learned so far into the arrays that loops read."""
    begin(form, actions, laid_out)


@cached_njit()
def take_back(form: Any, laid_out: Any) -> None:
    """Calls `finish` of a policy form: takes what was learned back from there."""
    finish(form, laid_out)


@cached_njit(parallel=True)
def advance(
    step: Any,
    numbers: Numbers,
    actions: Any,
    layout: Layout,
    policies: Any,
    critics: Any,
    goals: Any,
    scales: Any,
    progress: Progress,
    span: Span,
) -> None:
    """Takes the steps of `span` for every replica, between `lay_out` and `take_back`; the critic has room for them.

    step, numbers: the environment (see `marl.kernels.steps`); actions and all up to scales: see `marl.kernels.forms`.
    """
    for b in prange(progress.s.shape[0]):
        replica: Any = np.int64(b)  # `prange` counts in both kinds of integers, and the loop would be compiled for both
        advance_one(replica, step, numbers, actions, layout, policies, critics, goals, scales, progress, span)


@cached_njit()
def advance_in_turn(
    step: Any,
    numbers: Numbers,
    actions: Any,
    layout: Layout,
    policies: Any,
    critics: Any,
    goals: Any,
    scales: Any,
    progress: Progress,
    span: Span,
) -> None:
    """Does what `advance` does, one replica after the other: no thread has to be woken."""
    for b in range(progress.s.shape[0]):
        advance_one(b, step, numbers, actions, layout, policies, critics, goals, scales, progress, span)
