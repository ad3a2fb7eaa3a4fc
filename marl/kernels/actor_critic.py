"""Algorithm 1 fused: many steps of softmax actor and truncated tabular critic, replicas side by side.

Numbers as the trainer keeps them; the paper's line numbers beside the code. Entries of different agents are different
slots, so agents can be updated one after the other; agent i's two slots may coincide, so both are read first.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from marl.kernels.hash_table import _probe
from marl.kernels.noise import fill

_FAST = {"contract", "nsz"}


@njit(cache=True)
def softmax_row(theta: np.ndarray, legal: np.ndarray, p: np.ndarray) -> None:
    """p <- softmax of theta over the legal actions. Shapes: [A]."""
    top = -np.inf
    for k in range(len(theta)):
        if legal[k] and theta[k] > top:
            top = theta[k]
    total = theta[0] * 0
    for k in range(len(theta)):
        p[k] = np.exp(theta[k] - top) if legal[k] else theta[0] * 0
        total += p[k]
    if total != 0:  # a padded state has no legal action
        for k in range(len(theta)):
            p[k] /= total


@njit(cache=True)
def softmax(theta: np.ndarray, legal: np.ndarray, p: np.ndarray) -> None:
    """All rows. Shapes: theta, p [B, n, S, A], legal [n, S, A]."""
    for b in range(theta.shape[0]):
        for i in range(theta.shape[1]):
            for s in range(theta.shape[2]):
                softmax_row(theta[b, i, s], legal[i, s], p[b, i, s])


@njit(cache=True)
def draw(p: np.ndarray, last: int, u: float) -> int:
    """The first action whose cumulative probability exceeds u; see `Policy.sample`."""
    total = p[0] * 0
    for k in range(len(p)):
        total += p[k]
    below = min(u, np.float64(total) * (1.0 - 2.0**-53))
    cdf, passed = p[0] * 0, 0
    for k in range(len(p)):
        cdf += p[k]
        if not below < cdf:
            passed += 1
    return min(passed, last)


class Layout(NamedTuple):
    """What stays as it is. Shapes: near, stride [n, m], size, base, dummy [n], pair, legal

    [n, S, A], last [n, S]. exact: whether keys are exact or 63-bit fingerprints; dummy: its key, or -1; shift: of the
    hash table; block: slots per entry of `maxima`.
    """

    near: np.ndarray
    stride: np.ndarray
    size: np.ndarray
    base: np.ndarray
    dummy: np.ndarray
    pair: np.ndarray
    legal: np.ndarray
    last: np.ndarray
    exact: bool
    shift: int
    block: int


class Learned(NamedTuple):
    """What is learned. Shapes: theta, p (its softmax) [B, n, S, A], values [B, W], table [B, W] or [B, 0] where a key is

    its own slot, used [B], mu [B, n], maxima [B, W / block] or [B, 0] where Gamma = 1.
    """

    theta: np.ndarray
    p: np.ndarray
    values: np.ndarray
    table: np.ndarray
    used: np.ndarray
    mu: np.ndarray
    maxima: np.ndarray


class Progress(NamedTuple):
    """Where the run is, and its sums since the last log point. Shapes: s, a, reward [B, n], key, loss, finite [B]."""

    key: np.ndarray
    s: np.ndarray
    a: np.ndarray
    reward: np.ndarray
    loss: np.ndarray
    finite: np.ndarray


@njit(cache=True)
def _slots(layout: Layout, table: np.ndarray, z: np.ndarray, slot: np.ndarray) -> int:
    """Where the joint pairs stand in their row, -1 for the dummy; makes entries and returns how many."""
    made = 0
    for i in range(len(z)):
        key = layout.base[i]
        for j in range(layout.size[i]):
            key += layout.stride[i, j] * z[layout.near[i, j]]
        if not layout.exact:
            key &= 0x7FFFFFFFFFFFFFFF
        if len(table) == 0:
            slot[i] = key
        else:
            slot[i] = _probe(table, key, layout.shift)
            if table[slot[i]] < 0:
                table[slot[i]] = key
                made += 1
        if key == layout.dummy[i]:
            slot[i] = -1
    return made


@njit(cache=True)
def _largest_moved(maxima: np.ndarray, values: np.ndarray, block: int, slot: int, before: float) -> None:
    """Keeps maxima exact after values[slot] changed from `before`: a block is rescanned only if its largest shrank."""
    k = slot // block
    now = abs(values[slot])
    if now >= maxima[k]:
        maxima[k] = now
    elif abs(before) == maxima[k]:
        maxima[k] = np.abs(values[k * block : (k + 1) * block]).max()


@njit(cache=True, fastmath=_FAST)
def _replica(
    b: int,
    step: Any,
    ints: np.ndarray,
    floats: np.ndarray,
    uniforms: int,
    layout: Layout,
    learned: Learned,
    progress: Progress,
    t: int,
    summed: int,
    alpha: np.ndarray,
    eta: np.ndarray,
) -> None:
    """The steps of replica b."""
    n = progress.s.shape[1]
    theta, p, values, table = learned.theta[b], learned.p[b], learned.values[b], learned.table[b]
    mu, maxima, reward = learned.mu[b], learned.maxima[b], progress.reward[b]
    s, a = progress.s[b].copy(), progress.a[b].copy()
    next_s, next_a, z = s.copy(), a.copy(), s.copy()
    slot, next_slot = s.copy(), s.copy()
    u, choice, r = np.empty((n, uniforms)), np.empty(n), np.empty(n)
    q, following = np.zeros(n, values.dtype), np.zeros(n, values.dtype)
    for i in range(n):
        z[i] = layout.pair[i, s[i], a[i]]
    _slots(layout, table, z, slot)
    loss_sum, finite, made = 0.0, progress.finite[b], 0
    for k in range(len(alpha)):
        fill(progress.key[b], (t + k + 1) * n * (uniforms + 1), u, choice)
        step(ints, floats, s, a, u, next_s, r)  # line 3, first half of 4
        for i in range(n):  # line 4: a(t+1) from theta(t)
            next_a[i] = draw(p[i, next_s[i]], layout.last[i, next_s[i]], choice[i])
            z[i] = layout.pair[i, next_s[i], next_a[i]]
        made += _slots(layout, table, z, next_slot)
        for i in range(n):  # Q^t at both pairs, before line 6
            q[i] = values[slot[i]] if slot[i] >= 0 else 0.0
            following[i] = values[next_slot[i]] if next_slot[i] >= 0 else 0.0
        rate = eta[k] / n
        if len(maxima):
            rate /= 1.0 + maxima.max()  # Gamma of line 8
        loss, check = 0.0, 0.0
        for i in range(n):
            reward[i] += r[i]
            delta = r[i] - mu[i] + following[i] - q[i]
            loss += 0.5 * delta * delta
            mu[i] += alpha[k] * (r[i] - mu[i])  # line 5
            if slot[i] >= 0:  # line 6, with mu before line 5
                values[slot[i]] = q[i] + alpha[k] * delta
                if len(maxima):
                    _largest_moved(maxima, values, layout.block, slot[i], q[i])
        for i in range(n):
            near = 0.0
            for j in range(layout.size[i]):  # line 7
                near += q[layout.near[i, j]]
            gain = rate * near
            row, chance = theta[i, s[i]], p[i, s[i]]
            for x in range(len(row)):  # line 8
                row[x] -= gain * chance[x]
            row[a[i]] += gain
            check += near * chance[a[i]]
            softmax_row(row, layout.legal[i, s[i]], chance)
        loss_sum += loss
        if np.isfinite(loss + check) and finite == summed + k:
            finite += 1
        s, next_s = next_s, s
        a, next_a = next_a, a
        slot, next_slot = next_slot, slot
    progress.s[b], progress.a[b] = s, a
    progress.loss[b] += loss_sum
    progress.finite[b] = finite
    learned.used[b] += made


@njit(cache=True, parallel=True, fastmath=_FAST)
def advance(
    step: Any,
    ints: np.ndarray,
    floats: np.ndarray,
    uniforms: int,
    layout: Layout,
    learned: Learned,
    progress: Progress,
    t: int,
    summed: int,
    alpha: np.ndarray,
    eta: np.ndarray,
) -> None:
    """Steps t .. t + len(alpha) - 1 of every replica. The table has room for them.

    step, ints, floats: the environment (see `steps.STEP`), `uniforms` its U. summed: steps in the sums already.
    """
    for b in prange(progress.s.shape[0]):
        _replica(b, step, ints, floats, uniforms, layout, learned, progress, t, summed, alpha, eta)
