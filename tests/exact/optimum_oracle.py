"""The optimum of a tiny network by listing every legal joint action of every joint state, in two independent ways.

Value iteration over the list, and the linear program over occupancies mu(s, a) >= 0 whose maximum it is as well:

    max sum mu(s, a) r(s, a)   with   sum_a mu(s', a) = sum_{s, a} mu(s, a) P(s'|s, a),   sum mu = 1
"""

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linprog

from marl.core.environment import NetworkedMDP
from tests.envs.joint import following, joint_actions, joint_states


class Listed(NamedTuple):
    """Every legal joint choice: number of its state [K], action [K, n], law of the next joint state [K, X], reward [K]."""

    state: np.ndarray
    action: np.ndarray
    law: np.ndarray
    reward: np.ndarray

    @property
    def first(self) -> np.ndarray:
        """Where the choices of each state begin."""
        return np.searchsorted(self.state, np.arange(self.law.shape[1]))


def listed(env: NetworkedMDP) -> Listed:
    """All choices, state by state."""
    states, actions = joint_states(env), joint_actions(env)
    number, taken, laws, rewards = [], [], [], []
    for x, s in enumerate(states):
        legal = actions[env.action_mask[torch.arange(env.n), s, actions].all(dim=1)]
        here = s.expand(len(legal), -1)
        number += [x] * len(legal)
        taken.append(legal)
        laws.append(following(env, here, legal, states))
        rewards.append(env.reward(here, legal).mean(dim=1))
    return Listed(np.array(number), *(torch.cat(parts).numpy() for parts in (taken, laws, rewards)))


def by_iteration(every: Listed, gamma: float = 1.0, temperature: float = 0.0, n: int = 1, sweeps: int = 3000) -> np.ndarray:
    """V* [X] of the discounted optimum, or at gamma = 1 the increment of every state, all of them J* in the limit."""
    value = np.zeros(every.law.shape[1])
    for _ in range(sweeps):
        q = every.reward + gamma * every.law @ value
        if temperature:
            scale = temperature / n
            best = np.array([scale * np.logaddexp.reduce(part / scale) for part in np.split(q, every.first[1:])])
        else:
            best = np.maximum.reduceat(q, every.first)
        gain = best - value
        value = best if gamma < 1.0 else (value + best - (value + best).mean()) / 2.0  # halved: nothing is periodic
    return value if gamma < 1.0 else gain


def by_program(every: Listed) -> float:
    """J* of a chain with one recurrent class under every policy."""
    choices, states = every.law.shape
    leaving = np.zeros((states, choices))
    leaving[every.state, np.arange(choices)] = 1.0
    rows = np.vstack([leaving - every.law.T, np.ones(choices)])
    found = linprog(-every.reward, A_eq=rows, b_eq=np.append(np.zeros(states), 1.0), method="highs")
    assert found.status == 0
    return -float(found.fun)


def earned(every: Listed, actions: np.ndarray) -> float:
    """The long-run reward of a table of joint actions [X, n], by its stationary law."""
    chosen = [int(np.flatnonzero((every.state == x) & (every.action == a).all(axis=1))[0]) for x, a in enumerate(actions)]
    matrix, count = every.law[chosen], len(actions)
    system = np.vstack([matrix.T - np.eye(count), np.ones(count)])
    law = np.linalg.lstsq(system, np.append(np.zeros(count), 1.0), rcond=None)[0]
    return float(law @ every.reward[chosen])
