"""Algorithm 1 is compiled: many steps of an actor and a critic of any form, replicas side by side.

Numbers as the trainer keeps them; the paper's line numbers beside the code. What policy and critic are is said by their
forms (see `marl.kernels.forms`). Agents are taken by the block where nothing of one depends on what another learns in the
same step. An agent's two places in the critic, now and next, may coincide: both are read first.
"""

from typing import Any

import numpy as np
from numba import njit, prange

from marl.kernels.arguments import NO_ROOM, NO_STATE, Layout, Progress, Room, Span
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
    fetch_value,
    finish,
    is_learned,
    learn,
    learned,
    mark,
    of_replica,
    rescaled,
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
    w: int,
    step: Any,
    numbers: Numbers,
    actions: Any,
    layout: Layout,
    policies: Any,
    critics: Any,
    goals: Any,
    scales: Any,
    room: Room,
    progress: Progress,
    span: Span,
) -> None:
    """Does what `advance` does for replica b alone, in the arrays of worker w.

    Split into functions a step of 25 agents takes a third longer.
    """
    n, count, block = len(layout.states), len(actions), min(len(layout.states), BLOCK)
    states, pair, last, choice = len(layout.last) // n, layout.pair, layout.last, layout.choice
    policy, critic = of_replica(policies, b), of_replica(critics, b)
    goal, scale = of_replica(goals, b), of_replica(scales, b)
    t, summed, alpha, eta = span
    uniforms, reward, scratch, drawn = numbers.uniforms, progress.reward[b], room.scratch[w], room.drawn[w]
    s, next_s, a, next_a, z = room.s[w], room.next_s[w], room.a[w], room.next_a[w], room.z[w]
    slot, learns, q, r, flat, u = (
        room.slot[w],
        room.learns[w],
        room.q[w],
        room.r[w],
        drawn.reshape(drawn.size),
        drawn[:, :uniforms],
    )
    key, next_slot, next_learns = np.empty(block, np.int64), np.empty(block, np.uint64), np.empty(block, np.bool_)
    chooser, row, gain = np.empty(block, np.uint64), np.empty(block, np.uint64), np.empty(block)
    delta, climbing = np.empty(block, q.dtype), room_to_climb(policy, actions, block)
    made, loss_sum, finite, done = 0, progress.loss[b], progress.finite[b], len(alpha)
    for i in range(n):
        s[i], a[i] = progress.s[b, i], progress.a[b, i]
        z[i] = pair[(i * states + s[i]) * count + a[i]]
    for first in range(0, n, BLOCK):
        agents = min(n - first, BLOCK)
        mark(critic, layout.near, layout.size, z, first, agents, key)
        fetch(critic, agents, key, next_slot)
        made += settle(critic, agents, key, next_slot)
        for c in range(agents):
            slot[first + c], learns[first + c] = next_slot[c], is_learned(critic, first + c, key[c])

    for k in range(len(alpha)):
        fill(progress.key[b], (t + k + 1) * n * (uniforms + 1), flat)
        step(numbers.ints, numbers.floats, scratch, s, a, u, next_s, r)  # line 3, first half of 4
        for i in range(n):
            if next_s[i] < 0 or next_s[i] >= layout.states[i]:
                next_s[i], done = 0, NO_STATE

        for i in range(n):  # line 4: a(t+1) from theta(t)
            if n > BLOCK:  # what belongs to so many agents is far away: ask for that of those that come soon
                soon = min(i + AHEAD, n - 1)
                ahead = np.uint64(soon * states + next_s[soon])
                prefetch(pair, ahead * np.uint64(count))  # type: ignore[call-arg]
                fetch_row(policy, actions, ahead)
            place = np.uint64(i * states + next_s[i])
            next_row = row_of(policy, actions, place)
            next_a[i] = draw_action(policy, actions, next_s, i, next_row, last[place], drawn[i, uniforms])
            z[i] = pair[place * np.uint64(count) + np.uint64(next_a[i])]
        for i in range(n):  # before line 6
            if n > BLOCK:
                fetch_value(critic, slot[min(i + AHEAD, n - 1)])
            q[i] = value(critic, i, slot[i])

        ascent, rate, loss, check = rescaled(scale, eta[k] / n), alpha[k], 0.0, 0.0  # with Gamma of line 8
        for first in range(0, n, BLOCK):
            agents, choosing = min(n - first, BLOCK), 0
            mark(critic, layout.near, layout.size, z, first, agents, key)
            fetch(critic, agents, key, next_slot)
            for i in range(first, first + agents):
                place = np.uint64(i * states + s[i])
                chooser[choosing], row[choosing] = i, row_of(policy, actions, place)
                choosing += choice[place]
            for c in range(choosing):  # line 7, for the agents that have a choice: the others' theta stays as it is
                i = chooser[c]
                near = q[0] * 0
                for j in range(layout.size[i]):
                    near += q[layout.near[i, j]]
                gain[c] = ascent * near
            check += climb(policy, actions, s, a, row, chooser, choosing, gain, climbing)  # line 8, while cells come

            made += settle(critic, agents, key, next_slot)
            for c in range(agents):  # agent i's two places may coincide: both are read before line 6 writes
                i = first + c
                gained = r[i]
                reward[i] += gained
                delta[c] = error_of(goal, i, gained, rate, value(critic, i, next_slot[c]), q[i])  # line 5
                next_learns[c] = is_learned(critic, i, key[c])
            for c in range(agents):
                i = first + c
                loss += 0.5 * (delta[c] * delta[c])
                if learns[i]:
                    learn(critic, i, slot[i], q[i], rate * delta[c])  # line 6, with mu before line 5
                    learned(scale, critic, slot[i], q[i])
                slot[i], learns[i] = next_slot[c], next_learns[c]

        loss_sum += loss
        if np.isfinite(loss + check) and finite == summed + k:
            finite += 1
        s, next_s, a, next_a = next_s, s, next_a, a
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
    room: Room,
    progress: Progress,
    span: Span,
) -> None:
    """Takes the steps of `span` for every replica, between `lay_out` and `take_back`; the critic has room for them.

    step, numbers: the environment (see `marl.kernels.steps`); actions and all up to scales: see `marl.kernels.forms`.
    """
    for worker in prange(len(room.s)):
        w = np.int64(worker)  # prange counts unsigned: compiled once with `advance_one` in turn
        for b in range(w, len(progress.s), len(room.s)):
            advance_one(b, w, step, numbers, actions, layout, policies, critics, goals, scales, room, progress, span)  # type: ignore[arg-type]


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
    room: Room,
    progress: Progress,
    span: Span,
) -> None:
    """Does what `advance` does, one replica after the other: no thread has to be woken."""
    for b in range(progress.s.shape[0]):
        advance_one(b, 0, step, numbers, actions, layout, policies, critics, goals, scales, room, progress, span)
