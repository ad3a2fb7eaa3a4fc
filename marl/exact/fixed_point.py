"""The critic's fixed point (Theorem 3) is where TD with a frozen policy and a truncated table ends.

Equation (24), Phi' D (r_i - J_i 1 + P Phi Q - Phi Q) = 0, written with the stationary joint law of the pairs
(z_N(t), z_N(t+1)), N = N_i^kappa; that law needs the chain of the joint state only. Of a policy that sees more than its own
state, the actions of N depend on the states of `region`, all that its agents see.
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
    Errors: `ConfigError` for an agent or dummy that does not exist or never occurs, or more than 4096 pairs, or joint
    states of all that the policy sees of N_i^kappa.
    """
    (agent,) = chain.laws.checked([agent])
    near = neighborhood(chain, agent, integer("kappa", kappa, 0))
    sizes = [chain.laws.num_pairs[j] for j in near]
    if math.prod(sizes) > MOST_PAIRS:
        raise ConfigError(
            f"N_{agent}^{kappa} has {size(math.prod(sizes))} joint pairs, more than {MOST_PAIRS} (agent {agent})"
        )
    region = sorted({j for k in near for j in chain.seen[k]})
    if (wide := math.prod(chain.sizes[j] for j in region)) > MOST_PAIRS:
        raise ConfigError(
            f"the policy of N_{agent}^{kappa} sees {size(wide)} joint states, more than {MOST_PAIRS}; use a policy that "
            "sees less, a smaller kappa or fewer states"
        )
    left_out = -1 if dummy is None else _joint(agent, kappa, sizes, dummy)
    values = AverageValues(chain, [agent])
    weight, reward, following = _pair_law(values, near, region)
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


def _pair_law(values: AverageValues, near: list[int], region: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Computes Pr[z_N], E[r_i 1(z_N)] and Pr[z_N(t), z_N(t+1)] over the joint compact pairs of N = `near`.

    region: the agents whose states the policies of `near` see, these included.
    """
    chain, laws = values.chain, values.chain.laws
    pi = values.stationary.numpy()
    states, wide = [chain.sizes[j] for j in near], [chain.sizes[j] for j in region]
    sizes = [laws.num_pairs[j] for j in near]
    all_states = chain.states()
    inside = np.ravel_multi_index(all_states[:, near].T, states)
    indicator = np.eye(math.prod(wide))[np.ravel_multi_index(all_states[:, region].T, wide)]
    numbers = chain.env.pair_index.numpy()

    weight, reward = np.zeros(math.prod(sizes)), np.zeros(math.prod(sizes))
    following = np.zeros((math.prod(sizes), math.prod(wide)))
    for action in itertools.product(*[range(chain.tables[j].shape[-1]) for j in near]):
        tables, taken = list(chain.tables), pi
        for j, a in zip(near, action, strict=True):
            tables[j] = chain.always(j, a)
            taken = taken * chain.zeta(j, all_states, a)
        expected = chain.expect(indicator, tables)
        mean_reward = chain.rewards(values.agents, tables)[:, 0]
        rows = np.zeros((math.prod(states), 2 + math.prod(wide)))
        np.add.at(rows, inside, taken[:, None] * np.column_stack([np.ones(len(pi)), mean_reward, expected]))
        for x, own in enumerate(np.ndindex(*states)):
            z = [int(numbers[j, s, a]) for j, s, a in zip(near, own, action, strict=True)]
            if min(z) >= 0:
                place = int(np.ravel_multi_index(z, sizes))
                weight[place], reward[place] = rows[x, 0], rows[x, 1]
                following[place] = rows[x, 2:]
    return weight, reward, following @ _pairs_of(chain, near, region)


def _pairs_of(chain: Chain, near: list[int], region: list[int]) -> np.ndarray:
    """Computes the law of z_N given the states of `region`, as a matrix."""
    wide = [chain.sizes[j] for j in region]
    s = np.zeros((math.prod(wide), chain.n), dtype=np.int64)
    s[:, region] = np.stack(np.unravel_index(np.arange(len(s)), wide), axis=-1)
    law = np.ones((len(s), 1))
    for j in near:
        state, action = chain.laws.pair_state[j], chain.laws.pair_action[j]
        own = np.where(s[:, j, None] == state, chain.zeta(j, s[:, None], action), 0.0)
        law = (law[:, :, None] * own[:, None, :]).reshape(len(s), -1)
    return law
