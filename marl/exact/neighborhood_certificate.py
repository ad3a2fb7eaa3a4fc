"""The certificate H bounds the decay of influence under one fixed policy that may see the states of neighbors.

C of `certificate` is for policies of the own state: where zeta_k sees s_j, a change of s_j also changes agent k's action.
H_ij bounds the probability that the next states of agent i differ in two copies whose states differ at agent j alone.

    private actions   H_ij = the largest TV of P_theta(s_i'|s), averaged over a_i, over s and s' that differ at j only
    shared actions    H_ij = (1 - Pi_jj) E^s_ij + Pi_jj C_ij + sum_{k != j} E^a_ik Pi_kj

Pi_kj is the largest TV of zeta_k(.|s_{O_k}) over such s, s'; E^s_ij, E^a_ij and C_ij that of P_i(.|z_{N_i}) when in z_j the
state alone, the action alone or any part changes, over legal pairs. R_ij is the same for the mean of r_i given s. A first
step from the pairs z, z', then steps from states, give for z, z' that agree on N_i^kappa and spectral radius of gamma H < 1

    |Q_i(z) - Q_i(z')| <= [(delta + gamma R sum_t (gamma H)^t C) 1_{-N_i^kappa}]_i,

delta_ij = delta_j(r_i). The derivation stands in docs/coupling.md. Of own-state policies H <= C.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from marl.core.checks import integer, number
from marl.core.network import Neighborhood
from marl.core.policy import Policy
from marl.core.together import check_together
from marl.exact import dense
from marl.exact.certificate import Certificate, discounted, radii, rounded_up
from marl.exact.influence import Influence, tails
from marl.exact.interaction import NeighborMatrix, interaction_matrix, reward_variation, variation
from marl.exact.local_laws import LocalLaws
from marl.exact.policy_tables import policy_tables, seen_agents


def neighborhood_certificate(
    laws: LocalLaws,
    policy: Policy,
    agents: Sequence[int] | None = None,
    *,
    replica: int = 0,
    kappas: int | None = None,
    gamma: float = 1.0,
) -> Certificate:
    """Computes the certificate of one replica of a policy, frozen as it is now, however far it sees.

    agents, kappas, gamma: as in `certificate`; `row_sum` and `radius` of the result are those of gamma H.
    Errors: `ConfigError` for tables of the policy that are too large, and for a policy of another environment.
    """
    check_together(laws.env, policy)
    gamma, agents = number("gamma", gamma, 0.0, 1.0), laws.checked(agents)
    kappas = radii(laws.env.network, agents) if kappas is None else integer("kappas", kappas, 1)
    moves, earns = state_influence(laws, policy, replica)
    pairs = interaction_matrix(laws)
    influence = Influence(NeighborMatrix(gamma * moves.entries, moves.neighborhood))
    row_sum, radius = gamma * float(moves.row_sums().max()), rounded_up(influence.radius)
    nothing = Certificate("", None, agents, row_sum, influence.radius)
    name = "the matrix H of this policy" if gamma == 1.0 else f"{gamma:g} H of this policy"
    later, at_once, first = earns.transposed(), reward_variation(laws).transposed(), pairs.transposed()
    widest = float(pairs.row_sums().max())

    def from_pairs(unit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        total, rest = influence(later @ unit)
        return at_once @ unit + gamma * (first @ total), gamma * widest * rest

    bounds = tails(laws.env.network, from_pairs, lambda unit: unit, agents, kappas) if influence.finite else None
    if gamma < 1.0:
        spans = [float(np.ptp(table)) for table in laws.reward]
        by_discounting = discounted(laws.env, spans, agents, kappas, gamma, policy.hops)
        bounds = by_discounting if bounds is None else torch.minimum(bounds, by_discounting)
    if bounds is None:
        return nothing._replace(reason=f"the spectral radius of {name} could not be shown to be below 1 (at most {radius})")
    if influence.finite:
        return nothing._replace(reason=f"the spectral radius of {name} is at most {radius} < 1", bounds=bounds)
    return nothing._replace(reason=f"discounting alone: gamma = {gamma!r}", bounds=bounds)


def state_influence(laws: LocalLaws, policy: Policy, replica: int = 0) -> tuple[NeighborMatrix, NeighborMatrix]:
    """Computes H and R of a policy, in the layout of `neighborhood(1 + hops)`. Errors: as `policy_tables`."""
    seen = seen_agents(policy)
    with torch.no_grad():
        tables = policy_tables(policy, replica)
    hops = laws.n - 1 if policy.hops is None else policy.hops
    layout = laws.env.network.neighborhood(1 + hops)
    moves, earns = _Rows(layout), _Rows(layout)
    actions = [
        {j: variation(table.numpy(), axis) for axis, j in enumerate(near)} for near, table in zip(seen, tables, strict=True)
    ]
    for i in range(laws.n):
        if laws.sees_pairs:
            moves.set(i, _combined(laws, i, laws.law[i] / 2.0, actions))
        else:
            moves.set(i, _varied(*dense.averaged_law(laws, i, laws.law[i] / 2.0, tables[i], seen[i])))
        if laws.env.private_rewards:
            mean, scope = dense.averaged_reward(laws, i, tables, seen)
            earns.set(i, _varied(mean[..., None], scope))
        else:
            earns.set(i, _combined(laws, i, laws.reward[i][..., None], actions))
    return NeighborMatrix(moves.entries, layout), NeighborMatrix(earns.entries, layout)


class _Rows:
    """Fills a matrix in the layout of a neighborhood, row by row."""

    def __init__(self, layout: Neighborhood):
        self._index = layout.index.numpy()
        self.entries = np.zeros(self._index.shape)

    def set(self, i: int, row: dict[int, float]) -> None:
        place = {j: k for k, j in reversed(list(enumerate(self._index[i].tolist())))}  # padding repeats an agent at the end
        for j, entry in row.items():
            self.entries[i, place[j]] = entry


def _varied(table: Tensor, scope: list[int]) -> dict[int, float]:
    """Finds by how much a table over states changes with each of them alone, summed over its last axis."""
    return {j: 2.0 * variation(table.numpy(), axis) for axis, j in enumerate(scope)}


def _combined(laws: LocalLaws, i: int, table: np.ndarray, actions: list[dict[int, float]]) -> dict[int, float]:
    """Bounds by how much E[table(z_{N_i}) | s] changes with the state of each agent alone, summed over its last axis.

    actions[k][j]: Pi_kj.
    """
    row: dict[int, float] = {}
    for axis, k in enumerate(laws.neighbors[i]):
        rows = np.moveaxis(table, axis, 0)
        change = np.array([np.abs(rows - one).sum(axis=-1).reshape(len(rows), -1).max(axis=1) for one in rows])
        state, action = laws.pair_state[k], laws.pair_action[k]
        by_state = float(change[action[:, None] == action].max())
        by_action = float(change[state[:, None] == state].max())
        for j, differ in actions[k].items():
            part = (1.0 - differ) * by_state + differ * float(change.max()) if j == k else differ * by_action
            row[j] = row.get(j, 0.0) + part
    return row
