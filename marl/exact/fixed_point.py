"""The critic's fixed point (Theorem 3) is where TD with a frozen policy and a truncated table ends.

Equation (24), Phi' D (r_i - J_i 1 + P Phi Q - Phi Q) = 0, written with the stationary joint law of the pairs
(z_N(t), z_N(t+1)), N = N_i^kappa; that law needs the chain of the joint state only.
"""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from marl.core.checks import integer, size
from marl.core.errors import ConfigError
from marl.exact.chain import Chain
from marl.exact.truncation import JointPairs
from marl.exact.values import AverageValues

MOST_PAIRS = 4096
"""Largest |Z_N| of the linear system."""


def critic_fixed_point(
    chain: Chain, agent: int, kappa: int, dummy: int | Sequence[int] | None = None
) -> Float[Tensor, "*Z_N"]:
    """Solves for Qhat_i of Theorem 3, one axis of compact pairs per agent of N_i^kappa in increasing order.

    dummy: the joint pair that is never learned, whose value is 0, as compact pair numbers: one for all agents of the
    neighborhood or one for each; None: the solution is unique up to a constant, and is returned with mean 0 under the
    stationary law. Pairs that are never visited in the long run are NaN.
    Errors: `ConfigError` for an agent or dummy that does not exist or never occurs, or more than 4096 pairs.
    """
    (agent,) = chain.laws.checked([agent])
    near = neighborhood(chain, agent, integer("kappa", kappa, 0))
    sizes = [chain.laws.num_pairs[j] for j in near]
    if math.prod(sizes) > MOST_PAIRS:
        raise ConfigError(
            f"N_{agent}^{kappa} has {size(math.prod(sizes))} joint pairs, more than {MOST_PAIRS} (agent {agent})"
        )
    left_out = -1 if dummy is None else _joint(agent, kappa, sizes, dummy)
    values = AverageValues(chain, [agent])
    weight, reward, following = _pair_law(values, near)
    known = np.flatnonzero(weight > 0)
    if dummy is not None and left_out not in known:
        raise ConfigError(
            f"dummy pair {dummy} of N_{agent}^{kappa} never occurs, so the fixed point is not unique; use dummy=None"
        )
    learned = known[known != left_out]
    system = np.diag(weight[learned]) - following[np.ix_(learned, learned)]
    right = reward[learned] - float(values.J) * weight[learned]
    table = np.full(len(weight), np.nan)
    if dummy is None:
        table[learned] = np.linalg.solve(system + np.outer(weight[learned], weight[learned]), right)
    else:
        table[learned] = np.linalg.solve(system, right)
        table[left_out] = 0.0
    return torch.from_numpy(table).reshape(sizes)


def _joint(agent: int, kappa: int, sizes: list[int], dummy: int | Sequence[int]) -> int:
    """Finds the number of the dummy among the joint pairs of the neighborhood."""
    numbers = [dummy] * len(sizes) if np.ndim(dummy) == 0 else list(dummy)  # type: ignore[arg-type]
    if len(numbers) != len(sizes):
        raise ConfigError(f"the dummy of agent {agent} needs {len(sizes)} pair numbers, one for each of N_{agent}^{kappa}")
    numbers = [integer("dummy", z, 0) for z in numbers]
    if any(z >= size for z, size in zip(numbers, sizes, strict=True)):
        raise ConfigError(f"dummy {numbers} is not a joint pair of N_{agent}^{kappa}, whose agents have {sizes} pairs")
    return int(np.ravel_multi_index(numbers, sizes))


def critic_error(joint: JointPairs, agent: int, kappa: int, fixed_point: Float[Tensor, "*Z_N"]) -> float:
    """Computes min over c of sqrt(E_pi |Qhat_i(z_N) + c - Q_i(z)|^2), the left side of (13).

    Errors: `ConfigError` for joint pairs of discounted values, which have no stationary law pi, and for a fixed point of
    another environment, agent or kappa.
    """
    near = neighborhood(joint.chain, agent, kappa)
    sizes = [joint.sizes[j] for j in near]
    if list(fixed_point.shape) != sizes:
        raise ConfigError(
            f"the fixed point of agent {agent} at kappa={kappa} has shape {sizes}, one axis of pairs for each of "
            f"N_{agent}^{kappa}, got {list(fixed_point.shape)}: it is of another environment, agent or kappa"
        )
    numbers = np.unravel_index(np.arange(joint.num_pairs), joint.sizes)
    seen = joint.stationary > 0
    estimate = fixed_point[tuple(torch.from_numpy(numbers[j]) for j in near)][seen]
    difference, weight = estimate - joint.q[seen, agent], joint.stationary[seen]
    return float((weight * (difference - weight @ difference).square()).sum().sqrt())


def neighborhood(chain: Chain, agent: int, kappa: int) -> list[int]:
    """Lists N_i^kappa in increasing order."""
    index, mask, _ = chain.env.network.neighborhood(kappa)
    return [int(j) for j in index[agent, mask[agent]]]


def _pair_law(values: AverageValues, near: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Computes Pr[z_N], E[r_i 1(z_N)] and Pr[z_N(t), z_N(t+1)] over the joint compact pairs of `near`."""
    chain, laws = values.chain, values.chain.laws
    pi = values.stationary.numpy()
    states = [chain.sizes[j] for j in near]
    sizes = [laws.num_pairs[j] for j in near]
    inside = np.ravel_multi_index([chain.states()[:, j] for j in near], states)
    indicator = np.eye(math.prod(states))[inside]
    pairs = np.unravel_index(np.arange(math.prod(sizes)), sizes)
    state_of = np.ravel_multi_index([laws.pair_state[j][z] for j, z in zip(near, pairs, strict=True)], states)
    action_weight = np.prod(
        [chain.tables[j][laws.pair_state[j][z], laws.pair_action[j][z]] for j, z in zip(near, pairs, strict=True)], axis=0
    )
    numbers = chain.env.pair_index.numpy()

    weight, reward = np.zeros(math.prod(sizes)), np.zeros(math.prod(sizes))
    following = np.zeros((math.prod(sizes), math.prod(states)))
    for action in itertools.product(*[range(chain.tables[j].shape[1]) for j in near]):
        tables = list(chain.tables)
        for j, a in zip(near, action, strict=True):
            tables[j] = np.zeros_like(tables[j])
            tables[j][:, a] = chain.env.action_mask[j, : chain.sizes[j], a].numpy()
        expected = chain.expect(indicator, tables)
        mean_reward = chain.rewards(values.agents, tables)[:, 0]
        rows = np.zeros((math.prod(states), 2 + math.prod(states)))
        np.add.at(rows, inside, pi[:, None] * np.column_stack([np.ones(len(pi)), mean_reward, expected]))
        for x, own in enumerate(np.ndindex(*states)):
            z = [int(numbers[j, s, a]) for j, s, a in zip(near, own, action, strict=True)]
            if min(z) >= 0:
                place = int(np.ravel_multi_index(z, sizes))
                weight[place], reward[place] = rows[x, 0], rows[x, 1]
                following[place] = rows[x, 2:]
    weight, reward, following = weight * action_weight, reward * action_weight, following * action_weight[:, None]
    return weight, reward, following[:, state_of] * action_weight
