"""Algorithm 1 fused: many steps of softmax actor and truncated tabular critic, replicas side by side.

Numbers as the trainer keeps them; the paper's line numbers beside the code. Entries of different agents are different
slots, so agents can be updated one after the other; agent i's two slots may coincide, so both are read first.
Indices are unsigned where they are read from an array: a signed one is checked for being negative at every use.
"""

from typing import Any

import numpy as np
from numba import njit, prange

from marl.kernels.arguments import Layout, Learned, Progress, Span
from marl.kernels.hash_table import EMPTY, home
from marl.kernels.noise import fill
from marl.kernels.prefetch import prefetch
from marl.kernels.softmax import BLOCK, FAST, LANES, draw, normalize, read_back, refresh, workspace
from marl.kernels.steps import Numbers

AHEAD = 16
"""Agents by which a row of the policy is asked for before it is read, in large networks."""


@njit(cache=True, forceinline=True)
def _keys(layout: Layout, z: np.ndarray, key: np.ndarray) -> None:
    """key[i] <- the key of the joint pair z that agent i's neighborhood sees."""
    for i in range(len(z)):
        total = layout.base[i]
        for j in range(layout.size[i]):
            total += layout.stride[i, j] * z[layout.near[i, j]]
        key[i] = total & layout.keep


@njit(cache=True, forceinline=True)
def spacing_of(learned: Learned) -> int:
    """How many values have room in a cell, of which its own is the one in the middle; 1 if there are no cells."""
    return 2 * learned.values.shape[1] // learned.table.shape[1] if learned.table.size > 0 else 1


@njit(cache=True, forceinline=True)
def _ask(table: np.ndarray, values: np.ndarray, key: np.ndarray, slot: np.ndarray) -> None:
    """slot[i] <- where the search for key[i] starts; all cache lines are asked for, to be there when `_search` comes."""
    if len(table) == 0:
        for i in range(len(key)):
            slot[i] = key[i]
            prefetch(values, key[i])  # type: ignore[call-arg]
    else:
        last = len(table) // 2 - 1
        for i in range(len(key)):
            slot[i] = np.uint64(home(key[i], last)) << np.uint64(1)
            prefetch(table, slot[i])  # type: ignore[call-arg]


@njit(cache=True, forceinline=True)
def _search(table: np.ndarray, spacing: int, key: np.ndarray, slot: np.ndarray) -> int:
    """slot[i] <- where the value of key[i] stands, from where `_ask` said; makes cells and returns how many.

    In a table without a gap, which callers never let it come to, it makes none and counts as many as no table has room for.
    """
    made = 0
    if len(table) > 0:
        last, words = np.uint64(len(table) - 1), np.uint64(spacing)
        for i in range(len(key)):
            at, tries = slot[i], 0
            found = table[at]
            while found != key[i] and found != EMPTY and tries < len(table):
                at = (at + np.uint64(2)) & last
                found = table[at]
                tries += 1
            if found == EMPTY:
                table[at] = key[i]
                made += 1
            elif found != key[i]:
                made += len(table)
            slot[i] = (at + np.uint64(1)) * words >> np.uint64(1)
    return made


@njit(cache=True, forceinline=True)
def _ask_row(policy: np.ndarray, start: int, length: int) -> None:
    """Asks for the first and the last cache line of a row of the policy, or of a part of it."""
    prefetch(policy, start)  # type: ignore[call-arg]
    prefetch(policy, start + np.uint64(length - 1))


@njit(cache=True)
def _largest_moved(maxima: np.ndarray, values: np.ndarray, block: int, spacing: int, slot: int, before: float) -> None:
    """Keeps maxima exact after values[slot] changed from `before`: a block is rescanned only if its largest shrank."""
    k = slot // np.uint64(block)
    now = abs(values[slot])
    if now >= maxima[k]:
        maxima[k] = now
    elif abs(before) == maxima[k]:
        first = np.int64(k) * block
        maxima[k] = np.abs(values[first + spacing // 2 : first + block : spacing]).max()


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
) -> None:
    """`advance` for replica b alone."""
    n, states, count = layout.legal.shape
    policy, values, mu = learned.policy[b], learned.values[b], learned.mu[b]
    table, maxima, reward = learned.table[b][: 2 * learned.width[b]], learned.maxima[b], progress.reward[b]
    block = spacing_of(learned) * learned.width.max() // max(1, len(maxima))
    t, summed, alpha, eta, discount = span
    uniforms, spacing = numbers.uniforms, spacing_of(learned)
    s, a = progress.s[b].copy(), progress.a[b].copy()
    next_s, next_a, z, key, scratch = s.copy(), a.copy(), s.copy(), s.copy(), np.zeros(numbers.work, np.int64)
    row, next_row = np.empty(n, np.uint64), np.empty(n, np.uint64)
    slot, next_slot = np.empty(n, np.uint64), np.empty(n, np.uint64)
    learns, next_learns = np.empty(n, np.bool_), np.empty(n, np.bool_)
    drawn, r = np.empty((n, uniforms + 1)), np.empty(n)
    flat, u = drawn.reshape(drawn.size), drawn[:, :uniforms]
    chooser, next_chooser, choosing = np.empty(n, np.uint64), np.empty(n, np.uint64), 0
    q, delta, gain = np.empty(n, values.dtype), np.empty(n, values.dtype), np.empty(n, policy.dtype)
    logits, p, top, total = workspace(min(n, BLOCK), count, policy.dtype)
    baseline = 1.0 if discount == 1.0 else 0.0
    for i in range(n):
        row[i] = (i * states + s[i]) * 2 * count
        chooser[choosing] = i
        choosing += layout.choice[i * states + s[i]]
        z[i] = layout.pair[(i * states + s[i]) * count + a[i]]
    _keys(layout, z, key)
    _ask(table, values, key, slot)
    made = _search(table, spacing, key, slot)
    for i in range(n):
        learns[i] = key[i] != layout.dummy[i]
    loss_sum, finite, done = progress.loss[b], progress.finite[b], len(alpha)

    for k in range(len(alpha)):
        fill(progress.key[b], (t + k + 1) * n * (uniforms + 1), flat)
        step(numbers.ints, numbers.floats, scratch, s, a, u, next_s, r)  # line 3, first half of 4

        next_choosing = 0
        for i in range(n):  # line 4: a(t+1) from theta(t)
            if next_s[i] < 0 or next_s[i] >= layout.states[i]:
                next_s[i], done = 0, -1
            if n > BLOCK:  # rows of so many agents are far away: ask for those that come soon
                soon = min(i + AHEAD, n - 1)
                start = np.uint64(soon * states + next_s[soon]) * np.uint64(count)
                prefetch(layout.pair, start)  # type: ignore[call-arg]
                _ask_row(policy, start * np.uint64(2) + np.uint64(count), count)
            place = np.uint64(i * states + next_s[i])
            next_row[i] = place * np.uint64(2 * count)
            next_a[i] = draw(actions, policy, next_row[i], layout.last[place], drawn[i, uniforms])
            z[i] = layout.pair[place * np.uint64(count) + np.uint64(next_a[i])]
            next_chooser[next_choosing] = i
            next_choosing += layout.choice[place]
        _keys(layout, z, key)
        _ask(table, values, key, next_slot)

        for i in range(n):
            q[i] = values[slot[i]]  # Q^t, before line 6; the value of a dummy is 0
        ascent, loss, check, rate = eta[k] / n, 0.0, 0.0, alpha[k]
        if len(maxima) > 0:
            ascent /= 1.0 + maxima.max()  # Gamma of line 8
        for c in range(choosing):  # line 7, for the agents that have a choice: the others' theta stays as it is
            i = chooser[c]
            near = q[0] * 0
            for j in range(layout.size[i]):
                near += q[layout.near[i, j]]
            gain[c] = ascent * near
        for first in range(0, choosing, BLOCK):  # line 8, while the cells of line 6 come from memory
            # agents by the block, in work arrays that stay in the nearest cache
            agents, ascents = chooser[first:choosing][:BLOCK], gain[first:choosing][:BLOCK]
            lanes = -(-len(agents) // LANES) * LANES
            for c in range(len(agents)):
                start, g = row[agents[c]], ascents[c]
                if n > BLOCK:
                    _ask_row(policy, row[agents[min(c + AHEAD, len(agents) - 1)]], 2 * count)
                for x in range(len(actions)):
                    at = start + np.uint64(x)
                    logits[x * lanes + c] = policy[at] - g * policy[at + np.uint64(count)]
            for c in range(len(agents)):
                x, g = a[agents[c]], ascents[c]
                check += g * policy[row[agents[c]] + np.uint64(count + x)]
                logits[x * lanes + c] += g
            normalize(actions, lanes, logits, p, top, total)
            for c in range(len(agents)):
                start, inverse = row[agents[c]], total[c]
                for x in range(len(actions)):
                    at = start + np.uint64(x)
                    policy[at] = logits[x * lanes + c]
                    policy[at + np.uint64(count)] = p[x * lanes + c] * inverse

        made += _search(table, spacing, key, next_slot)
        for i in range(n):  # agent i's two slots may coincide: both are read before line 6 writes
            gained, mean = r[i], mu[i]
            reward[i] += gained
            delta[i] = gained - baseline * mean + discount * values[next_slot[i]] - q[i]
            mu[i] = mean + rate * (gained - mean)  # line 5
            next_learns[i] = key[i] != layout.dummy[i]
        for i in range(n):
            loss += 0.5 * (delta[i] * delta[i])
            if learns[i]:
                values[slot[i]] = q[i] + rate * delta[i]  # line 6, with mu before line 5
                if len(maxima) > 0:
                    _largest_moved(maxima, values, block, spacing, slot[i], q[i])

        loss_sum += loss
        if np.isfinite(loss + check) and finite == summed + k:
            finite += 1
        s, next_s, a, next_a = next_s, s, next_a, a
        row, next_row, slot, next_slot, learns, next_learns = next_row, row, next_slot, slot, next_learns, learns
        chooser, next_chooser, choosing = next_chooser, chooser, next_choosing
    progress.s[b], progress.a[b] = s, a
    progress.loss[b] = loss_sum
    progress.finite[b], progress.done[b] = finite, done
    learned.used[b] += made


@njit(cache=True)
def begin(actions: Any, theta: np.ndarray, legal: np.ndarray, policy: np.ndarray) -> None:
    """Lays out the policies from theta. Shapes: theta [B, n, S, A], legal [n, S, A], policy [B, n S 2 A]."""
    for b in range(len(theta)):
        refresh(actions, theta[b], legal, policy[b])


@njit(cache=True)
def finish(theta: np.ndarray, legal: np.ndarray, policy: np.ndarray) -> None:
    """Reads theta back from the policies."""
    for b in range(len(theta)):
        read_back(policy[b], legal, theta[b])


@njit(cache=True, parallel=True)
def advance(
    step: Any, numbers: Numbers, actions: Any, layout: Layout, learned: Learned, progress: Progress, span: Span
) -> None:
    """The steps of `span` for every replica, between `begin` and `finish`; the table has room for them.

    step, numbers: the environment (see `marl.kernels.steps`); actions: see `marl.kernels.softmax`.
    """
    for b in prange(progress.s.shape[0]):
        advance_one(b, step, numbers, actions, layout, learned, progress, span)


@njit(cache=True)
def advance_in_turn(
    step: Any, numbers: Numbers, actions: Any, layout: Layout, learned: Learned, progress: Progress, span: Span
) -> None:
    """`advance`, one replica after the other: no thread has to be woken."""
    for b in range(progress.s.shape[0]):
        advance_one(b, step, numbers, actions, layout, learned, progress, span)
