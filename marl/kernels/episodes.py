"""The episodic discounted actor-critic fused: many episodes of softmax actor and truncated tabular critic.

Layout, Learned, Span and Progress are those of `marl.kernels.arguments`, but for eta in Span: one for every episode
that ends. Step k = m T + t is step t of episode m. Mathematics: `marl.trainers.DiscountedActorCritic`.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from marl.kernels.actor_critic import _ask, _keys, _search, spacing_of
from marl.kernels.arguments import Layout, Learned, Progress, Span
from marl.kernels.noise import fill
from marl.kernels.softmax import FAST, draw, normalize, workspace
from marl.kernels.steps import Numbers


class Episodes(NamedTuple):
    """The episode under way, and E fresh starts, of the episodes after it.

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
    """The pairs of one replica's episode, z(0) .. z(T). Shapes: all [T + 1, n].

    row, slot: where the policy's row of s_i and Q_i of the pair begin; learns: whether it is not the dummy.
    """

    s: np.ndarray
    a: np.ndarray
    row: np.ndarray
    slot: np.ndarray
    learns: np.ndarray


@njit(cache=True)
def _visit(
    layout: Layout,
    table: np.ndarray,
    values: np.ndarray,
    spacing: int,
    trace: Trace,
    t: int,
    z: np.ndarray,
    key: np.ndarray,
) -> int:
    """Completes entry t of the trace, whose s and a are there; z, key [n] are room to work in. Returns entries made."""
    _, states, count = layout.legal.shape
    s, a, row, learns = trace.s[t], trace.a[t], trace.row[t], trace.learns[t]
    for i in range(len(s)):
        place = np.uint64(i * states + s[i])
        row[i] = place * np.uint64(2 * count)
        z[i] = layout.pair[place * np.uint64(count) + np.uint64(a[i])]
    _keys(layout, z, key)
    _ask(table, values, key, trace.slot[t])
    for i in range(len(s)):
        learns[i] = key[i] != layout.dummy[i]
    return _search(table, spacing, key, trace.slot[t])


@njit(cache=True, fastmath=FAST, error_model="numpy")
def _improve(
    actions: Any,
    layout: Layout,
    policy: np.ndarray,
    values: np.ndarray,
    trace: Trace,
    weight: np.ndarray,
    eta: float,
    q: np.ndarray,
    logits: np.ndarray,
    p: np.ndarray,
    top: np.ndarray,
    total: np.ndarray,
) -> float:
    """theta_i += eta_m sum_t gamma^t (1/n) sum_{j in N_i^kappa} Q_j(z_N(t)) grad log zeta_i(a_i(t)|s_i(t)).

    Returns a number that is finite iff all of it is. q [n], logits, p [A L], top, total [L] are room to work in.
    """
    n, _, count = layout.legal.shape
    check, lanes = 0.0, len(top)
    for t in range(len(weight)):
        a, row, slot, ascent = trace.a[t], trace.row[t], trace.slot[t], eta / n * weight[t]
        for i in range(n):
            q[i] = values[slot[i]]  # after the inner loop; the value of a dummy is 0
        for i in range(n):
            near = q[0] * 0
            for j in range(layout.size[i]):
                near += q[layout.near[i, j]]
            start, gain = row[i], ascent * near
            check += near * policy[start + np.uint64(count + a[i])]
            for x in range(len(actions)):  # the probabilities stay those of theta(m)
                at = start + np.uint64(x)
                policy[at] -= gain * policy[at + np.uint64(count)]
            policy[start + np.uint64(a[i])] += gain
    for t in range(len(weight)):
        row = trace.row[t]
        for i in range(n):
            for x in range(len(actions)):
                logits[x * lanes + i] = policy[row[i] + np.uint64(x)]
        normalize(actions, lanes, logits, p, top, total)
        for i in range(n):
            for x in range(len(actions)):
                policy[row[i] + np.uint64(count + x)] = p[x * lanes + i] * total[i]
    return check


@njit(cache=True, fastmath=FAST, error_model="numpy")
def advance_one(
    b: int,
    step: Any,
    numbers: Numbers,
    actions: Any,
    layout: Layout,
    learned: Learned,
    progress: Progress,
    span: Span,
    episodes: Episodes,
) -> None:
    """`advance` for replica b alone."""
    n, states, count = layout.legal.shape
    policy, values, reward = learned.policy[b], learned.values[b], progress.reward[b]
    table = learned.table[b][: 2 * learned.width[b]]
    first, summed, alpha, eta, discount = span
    weight, horizon, fresh = episodes.weight, len(episodes.weight), 0
    uniforms, spacing = numbers.uniforms, spacing_of(learned)
    trace = Trace(
        np.empty((horizon + 1, n), np.int64),
        np.empty((horizon + 1, n), np.int64),
        np.empty((horizon + 1, n), np.uint64),
        np.empty((horizon + 1, n), np.uint64),
        np.empty((horizon + 1, n), np.bool_),
    )
    z, key, scratch = np.empty(n, np.int64), np.empty(n, np.int64), np.zeros(numbers.work, np.int64)
    drawn, r = np.empty((n, uniforms + 1)), np.empty(n)
    flat, u = drawn.reshape(drawn.size), drawn[:, :uniforms]
    q, delta = np.empty(n, values.dtype), np.empty(n, values.dtype)
    logits, p, top, total = workspace(n, count, policy.dtype)

    t, made = first % horizon, 0
    trace.s[:horizon], trace.a[:horizon] = episodes.s[:, b], episodes.a[:, b]
    trace.s[t], trace.a[t] = progress.s[b], progress.a[b]
    for before in range(t + 1):
        made += _visit(layout, table, values, spacing, trace, before, z, key)
    running, ended = episodes.running[b], episodes.ended[b]
    loss_sum, finite, done = progress.loss[b], progress.finite[b], len(alpha)

    for k in range(len(alpha)):
        s, a, next_s, next_a = trace.s[t], trace.a[t], trace.s[t + 1], trace.a[t + 1]
        fill(progress.key[b], (first + k + 1) * n * (uniforms + 1), flat)
        step(numbers.ints, numbers.floats, scratch, s, a, u, next_s, r)  # s(t+1), r(t)
        for i in range(n):  # a(t+1) from theta(m)
            if next_s[i] < 0 or next_s[i] >= layout.states[i]:
                next_s[i], done = 0, -1
            place: Any = np.uint64(i * states + next_s[i])
            next_a[i] = draw(actions, policy, place * np.uint64(2 * count), layout.last[place], drawn[i, uniforms])
        made += _visit(layout, table, values, spacing, trace, t + 1, z, key)

        slot, next_slot, learns = trace.slot[t], trace.slot[t + 1], trace.learns[t]
        loss, check, earned, rate = 0.0, 0.0, 0.0, alpha[k]
        for i in range(n):  # Q at both pairs, before the update
            q[i] = values[slot[i]]
            delta[i] = r[i] + discount * values[next_slot[i]] - q[i]
            reward[i] += r[i]
            earned += r[i]
        for i in range(n):
            loss += 0.5 * (delta[i] * delta[i])
            if learns[i]:
                values[slot[i]] = q[i] + rate * delta[i]
        running += weight[t] * (earned / n)

        t += 1
        if t == horizon:  # the outer update, and a fresh start
            check = _improve(actions, layout, policy, values, trace, weight, eta[fresh], q, logits, p, top, total)
            ended, running, t = ended + running, 0.0, 0
            for i in range(n):
                trace.s[0, i] = episodes.fresh_s[fresh, b, i]
                place = np.uint64(i * states + trace.s[0, i])
                start = place * np.uint64(2 * count)
                trace.a[0, i] = draw(actions, policy, start, layout.last[place], episodes.fresh_u[fresh, b, i])
            made += _visit(layout, table, values, spacing, trace, 0, z, key)
            fresh += 1
        loss_sum += loss
        if np.isfinite(loss + check) and finite == summed + k:
            finite += 1
    progress.s[b], progress.a[b] = trace.s[t], trace.a[t]
    progress.loss[b] = loss_sum
    progress.finite[b], progress.done[b] = finite, done
    episodes.s[:, b], episodes.a[:, b] = trace.s[:horizon], trace.a[:horizon]
    episodes.running[b], episodes.ended[b] = running, ended
    learned.used[b] += made


@njit(cache=True, parallel=True)
def advance(
    step: Any,
    numbers: Numbers,
    actions: Any,
    layout: Layout,
    learned: Learned,
    progress: Progress,
    span: Span,
    episodes: Episodes,
) -> None:
    """The steps of `span` for every replica, between `begin` and `finish`; the table has room for them.

    step, numbers: the environment (see `marl.kernels.steps`); actions: see `marl.kernels.softmax`.
    """
    for b in prange(progress.s.shape[0]):
        advance_one(b, step, numbers, actions, layout, learned, progress, span, episodes)


@njit(cache=True)
def advance_in_turn(
    step: Any,
    numbers: Numbers,
    actions: Any,
    layout: Layout,
    learned: Learned,
    progress: Progress,
    span: Span,
    episodes: Episodes,
) -> None:
    """`advance`, one replica after the other: no thread has to be woken."""
    for b in range(progress.s.shape[0]):
        advance_one(b, step, numbers, actions, layout, learned, progress, span, episodes)
