"""The long-run average reward of any policy on a small network, by listing all joint states and actions.

It is slow and obvious on purpose: it asks an environment for its law and rewards and a policy for its probabilities, and
solves one linear system over joint states.
"""

import itertools

import numpy as np
import torch

from marl.core.environment import NetworkedMDP
from marl.core.policy import Policy


def joint_states(env: NetworkedMDP) -> torch.Tensor:
    """All joint states, [X, n]."""
    return torch.tensor(list(itertools.product(*(range(k) for k in env.num_states.tolist()))))


def joint_actions(env: NetworkedMDP) -> torch.Tensor:
    """All joint actions, legal somewhere or not, [A, n]."""
    return torch.tensor(list(itertools.product(*(range(k) for k in env.num_actions.tolist()))))


def following(env: NetworkedMDP, s: torch.Tensor, a: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """P(s'|s, a) of every pair (s, a) [K, n] and every s' among the joint states, [K, X]."""
    law, joint = env.transition(s, a), torch.ones(len(s), len(states), dtype=torch.float64)
    for i in range(env.n):
        joint *= law[:, i, states[:, i]]
    return joint


def matrix_and_rewards(env: NetworkedMDP, policy: Policy) -> tuple[np.ndarray, np.ndarray]:
    """P(s'|s) [X, X] and E[mean over agents of r | s] [X] under replica 0 of the policy."""
    states, actions = joint_states(env), joint_actions(env)
    matrix, rewards = np.zeros((len(states), len(states))), np.zeros(len(states))
    for x, s in enumerate(states):
        probs = policy.probs(s.expand(policy.replicas, -1))[0].detach().double()
        weight = probs[torch.arange(env.n), actions].prod(dim=1)
        taken = weight > 0.0
        here, a = s.expand(int(taken.sum()), -1), actions[taken]
        matrix[x] = (weight[taken, None] * following(env, here, a, states)).sum(dim=0).numpy()
        r = env.reward(here, a).mean(dim=1)
        rewards[x] = float((weight[taken] * r).sum())
    return matrix, rewards


def average_reward(env: NetworkedMDP, policy: Policy) -> float:
    """The average reward per agent and step, J, of a chain with one recurrent class."""
    matrix, rewards = matrix_and_rewards(env, policy)
    count = len(matrix)
    system = np.vstack([matrix.T - np.eye(count), np.ones(count)])
    stationary = np.linalg.lstsq(system, np.append(np.zeros(count), 1.0), rcond=None)[0]
    assert np.abs(stationary @ matrix - stationary).max() < 1e-9
    return float(stationary @ rewards)


def optimal_reward(env: NetworkedMDP, accuracy: float) -> float:
    """The best average reward per agent and step of one mind that sees all.

    Value iteration over joint states; every sweep gives two bounds, and it ends when they are this close.
    """
    states, rewards, laws = joint_states(env), [], []
    for action in joint_actions(env):
        a = action.expand_as(states)
        legal = env.action_mask[torch.arange(env.n), states, a].all(dim=1)
        rewards.append(torch.where(legal, env.reward(states, a).mean(dim=1), -torch.inf))
        laws.append(following(env, states, a, states))
    moving, earned = torch.stack(laws), torch.stack(rewards)
    value = torch.zeros(len(states), dtype=torch.float64)
    while True:
        better = (earned + moving @ value).amax(dim=0)
        gain = better - value
        if gain.max() - gain.min() <= accuracy:
            return float(gain.max() + gain.min()) / 2
        value += 0.9 * gain  # not all of it: a chain may be periodic
        value -= value.mean()
