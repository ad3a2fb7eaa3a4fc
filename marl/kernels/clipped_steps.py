"""PPO takes its clipped steps agent by agent: the networks of an agent are its own, and stay in the nearest cache."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange

from marl.kernels.adam import Learner, adam_step, network_of
from marl.kernels.compiled import cached_njit
from marl.kernels.forms import FAST
from marl.kernels.hidden_layer import Weights, add_gradient, outputs
from marl.kernels.softmax_arithmetic import exp


class Taught(NamedTuple):
    """This is what a rollout teaches, see `marl.trainers.kappa_hop_ppo.Batch`, and in which order.

    Shapes: s, a, log_prob, advantage, target [K, B, n]; order [epochs, K, B], the steps of every epoch; ends [minibatches],
    where the parts of an epoch end; legal [n, S, A].
    """

    s: np.ndarray
    a: np.ndarray
    log_prob: np.ndarray
    advantage: np.ndarray
    target: np.ndarray
    order: np.ndarray
    ends: np.ndarray
    legal: np.ndarray
    clip: float
    entropy: float


@njit(error_model="numpy", fastmath=FAST)
def _seen_by(learner: Learner, i: int, s: np.ndarray) -> np.ndarray:
    """Lays out what agent i sees in every step. Shapes: s [K, n] -> [K, its neighbors]."""
    near = learner.near[i, : learner.size[i]]
    seen = np.empty((len(s), len(near)), np.int64)
    for t in range(len(s)):
        for j in range(len(near)):
            seen[t, j] = s[t, near[j]]
    return seen


@njit(error_model="numpy", fastmath=FAST)
def _gradient_for(network: Weights) -> Weights:
    return Weights(np.zeros_like(network.embedding), np.zeros_like(network.weight), np.zeros_like(network.bias))


@njit(error_model="numpy", fastmath=FAST)
def _actor_slopes(room: np.ndarray, legal: np.ndarray, a: int, old: float, gain: float, taught: Taught) -> float:
    """Turns logits, room[0] of [2, A], into the slopes by them of minus what the actor ascends; returns minus its value."""
    logits, p, clip, entropy = room[0], room[1], taught.clip, taught.entropy
    top, total = -np.inf, 0.0
    for x in range(len(legal)):
        top = max(top, logits[x]) if legal[x] else top
    for x in range(len(legal)):
        p[x] = exp(logits[x] - top) if legal[x] else 0.0
        total += p[x]
    shift, disorder = top + np.log(total), 0.0
    ratio = np.exp(logits[a] - shift - old)
    for x in range(len(legal)):
        p[x] /= total
        logits[x] = logits[x] - shift if p[x] > 0.0 else 0.0  # log zeta, or 0 where its weight is 0
        disorder -= p[x] * logits[x]
    moved, clamped = ratio * gain, min(max(ratio, 1.0 - clip), 1.0 + clip) * gain
    slope = moved if moved <= clamped else 0.0
    for x in range(len(legal)):
        logits[x] = p[x] * (slope + entropy * (logits[x] + disorder))
    logits[a] -= slope
    return -min(moved, clamped) - entropy * disorder


@njit(error_model="numpy", fastmath=FAST)
def improve_one(b: int, i: int, width: Any, value_width: Any, policy: Learner, critic: Learner, taught: Taught) -> float:
    """Does what `improve` does for agent i of replica b alone; returns its share of the losses, summed over minibatches."""
    theta, omega = network_of(policy, b, i), network_of(critic, b, i)
    up, down = _gradient_for(theta), _gradient_for(omega)
    seen, valued = _seen_by(policy, i, taught.s[:, b]), _seen_by(critic, i, taught.s[:, b])
    hidden, features = np.empty(len(theta.weight)), np.empty(len(omega.weight))
    room, error, losses, taken = np.empty((2, taught.legal.shape[2])), np.empty(1), 0.0, 0
    for epoch in range(len(taught.order)):
        first = 0
        for end in taught.ends:
            share = 1.0 / ((end - first) * taught.s.shape[2])
            for k in range(first, end):
                t = taught.order[epoch, k, b]
                outputs(width, theta, seen[t], hidden, room[0])
                legal, old = taught.legal[i, taught.s[t, b, i]], taught.log_prob[t, b, i]
                loss = _actor_slopes(room, legal, taught.a[t, b, i], old, taught.advantage[t, b, i], taught)
                room[0] *= share
                add_gradient(width, up, theta, seen[t], hidden, room[0])
                outputs(value_width, omega, valued[t], features, error)
                error[0] -= taught.target[t, b, i]
                losses += share * (loss + 0.5 * error[0] * error[0])
                error[0] *= share
                add_gradient(value_width, down, omega, valued[t], features, error)
            adam_step(critic, b, i, down, taken)
            adam_step(policy, b, i, up, taken)
            first, taken = end, taken + 1
    return losses


@cached_njit(parallel=True)
def improve(width: Any, value_width: Any, policy: Learner, critic: Learner, taught: Taught, losses: np.ndarray) -> None:
    """Takes all steps of all epochs, and fills losses [B, n].

    width, value_width: for policy and critic anything as long as their hidden layer, see `outputs`.
    """
    replicas, agents = losses.shape
    for cell in prange(replicas * agents):
        at = np.int64(cell)  # prange counts unsigned
        losses[at // agents, at % agents] = improve_one(
            at // agents, at % agents, width, value_width, policy, critic, taught
        )


@cached_njit()
def improve_in_turn(
    width: Any, value_width: Any, policy: Learner, critic: Learner, taught: Taught, losses: np.ndarray
) -> None:
    """Does what `improve` does, one agent after the other: no thread has to be woken."""
    for b in range(losses.shape[0]):
        for i in range(losses.shape[1]):
            losses[b, i] = improve_one(b, i, width, value_width, policy, critic, taught)
