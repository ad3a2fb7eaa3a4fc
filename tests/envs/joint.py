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


def matrix_and_rewards(env: NetworkedMDP, policy: Policy) -> tuple[np.ndarray, np.ndarray]:
    """P(s'|s) [X, X] and E[mean over agents of r | s] [X] under replica 0 of the policy."""
    states = joint_states(env)
    actions = torch.tensor(list(itertools.product(*(range(k) for k in env.num_actions.tolist()))))
    matrix, rewards = np.zeros((len(states), len(states))), np.zeros(len(states))
    for x, s in enumerate(states):
        probs = policy.probs(s.expand(policy.replicas, -1))[0].detach().double()
        weight = probs[torch.arange(env.n), actions].prod(dim=1)
        taken = weight > 0.0
        law = env.transition(s.expand(int(taken.sum()), -1), actions[taken])
        following = torch.ones(len(law), len(states), dtype=torch.float64)
        for i in range(env.n):
            following *= law[:, i, states[:, i]]
        matrix[x] = (weight[taken, None] * following).sum(dim=0).numpy()
        r = env.reward(s.expand(len(law), -1), actions[taken]).mean(dim=1)
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
