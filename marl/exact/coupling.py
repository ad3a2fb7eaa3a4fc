"""The coupling certificate bounds the decay of influence under one fixed own-state policy, from several steps at once.

Two copies of the chain run together. Given both, agents move independently; agent k's two next states agree with the
largest possible probability, 1 - TV, and what is left is matched in increasing order; agents in equal states take the
same action, others draw theirs with one common uniform. D^(T)_ij is the largest probability, over all pairs of starts
that differ at agent j only, that agent i differs after T steps. Starts that differ at several agents are joined by a
path of starts that differ at one, and couplings along a path can be glued, so the probabilities e(t) of differing obey

    e(t + T) <= D^(T) e(t),    e(mT + tau) <= D^(tau) (D^(T))^m e(0),

whatever differed at time t. If the spectral radius of D^(T) is below 1,

    |Q_i(z) - Q_i(z')| <= sum_j delta_j(r_i) [sum_{tau < T} D^(tau) sum_m (D^(T))^m 1_{-N_i^kappa}]_j.

D^(1) is the interaction matrix C. Marginal distances after T > 1 steps would not do: the agents of the chain observed
every T steps are no longer independent given its present, which is what Lemma 4 needs. The derivation stands in
docs/coupling.md.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from marl.core.checks import integer, size
from marl.core.errors import ConfigError
from marl.exact.certificate import Certificate, radii, rounded_up
from marl.exact.elimination import Elimination
from marl.exact.influence import Influence, tails
from marl.exact.interaction import NeighborMatrix, reward_variation
from marl.exact.local_laws import TOLERANCE, LocalLaws


def coupling_certificate(
    laws: LocalLaws,
    policy: Sequence[np.ndarray],
    agents: Sequence[int] | None = None,
    *,
    horizon: int = 2,
    kappas: int | None = None,
    memory: float = 4.0,
) -> Certificate:
    """Computes the certificate of blocks of T = `horizon` steps, valid for the policy tables zeta_i [S_i, A] alone.

    agents, kappas: as in `certificate`. Errors: `ConfigError` with the size, where two copies of N_i^T are too many
    joint states to compute D^(T) exactly.
    """
    agents = laws.checked(agents)
    kappas = radii(laws.env.network, agents) if kappas is None else integer("kappas", kappas, 1)
    blocks = disagreement(laws, policy, integer("horizon", horizon, 1), memory)
    influence = Influence(blocks[-1])
    radius = rounded_up(influence.radius)
    name = f"the {horizon}-step disagreement matrix under this policy"
    nothing = Certificate("", None, agents, float(blocks[-1].row_sums().max()), influence.radius)
    if not influence.finite:
        return nothing._replace(reason=f"the spectral radius of {name} could not be shown to be below 1 (at most {radius})")
    change = reward_variation(laws).transposed()
    inside = [block.transposed() for block in blocks[:-1]]

    def start(unit: np.ndarray) -> np.ndarray:
        x = change @ unit
        return sum((block @ x for block in inside), x)

    bounds = tails(laws.env.network, influence, start, agents, kappas)
    return nothing._replace(reason=f"the spectral radius of {name} is at most {radius} < 1", bounds=bounds)


def disagreement(laws: LocalLaws, policy: Sequence[np.ndarray], horizon: int, memory: float = 4.0) -> list[NeighborMatrix]:
    """Computes D^(1), ..., D^(horizon) exactly; D^(t) in the layout of `neighborhood(t)`.

    Errors: as `coupling_certificate`.
    """
    twins = [_Twin.of(laws, i, table) for i, table in enumerate(_checked(laws, policy))]
    network = laws.env.network
    found = [np.zeros(network.neighborhood(t).index.shape) for t in range(1, horizon + 1)]
    for i in range(laws.n):
        region, differs = [i], 1.0 - np.eye(laws.num_states[i]).reshape(-1, 1)
        for t in range(horizon):
            wider = sorted({j for k in region for j in laws.neighbors[k]})
            for place, j in enumerate(wider):
                found[t][i, place] = _worst(laws, region, wider, j, differs, memory)
            if t + 1 < horizon:
                differs = _earlier(laws, twins, region, wider, differs, memory)
                region = wider
    return [NeighborMatrix(entries, network.neighborhood(t)) for t, entries in enumerate(found, start=1)]


def _checked(laws: LocalLaws, policy: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Checks policy tables and makes their rows sum to one: missing mass would count as agreement."""
    if len(policy) != laws.n:
        raise ConfigError(f"the policy needs one table for each of {laws.n} agents, got {len(policy)}")
    for i, table in enumerate(policy):
        if table.ndim > 2:
            raise ConfigError(
                f"D^(T) is of policies zeta_i(a_i | s_i), and agent {i} sees the states of {table.ndim - 1} agents; use "
                "neighborhood_certificate, which bounds decay by the matrix H of such a policy"
            )
        legal = laws.env.action_mask[i, : laws.num_states[i]].numpy()
        good = table.shape == legal.shape and bool((np.where(legal, table >= 0.0, table == 0.0)).all())
        if not good or not (np.abs(table.sum(axis=1) - 1.0) <= TOLERANCE).all():
            raise ConfigError(
                f"the policy table of agent {i} must have shape {list(legal.shape)} and rows that are distributions "
                "over the legal actions"
            )
    return [table / table.sum(axis=1, keepdims=True) for table in policy]


def coupled(p: Float[np.ndarray, "R S"], q: Float[np.ndarray, "R S"]) -> Float[np.ndarray, "R S S"]:
    """Makes joint laws with marginals p and q: min(p, q) on the diagonal, what is left matched in increasing order."""
    both = np.minimum(p, q)
    joint = in_order(p - both, q - both)
    return joint + both[:, :, None] * np.eye(p.shape[1])


def in_order(p: Float[np.ndarray, "R S"], q: Float[np.ndarray, "R S"]) -> Float[np.ndarray, "R S S"]:
    """Makes the joint measure of two inverse CDFs driven by one uniform; p and q have equal totals."""
    one, other = p.cumsum(axis=1)[:, :, None], q.cumsum(axis=1)[:, None, :]
    overlap = np.minimum(one, other) - np.maximum(one - p[:, :, None], other - q[:, None, :])
    return np.maximum(overlap, 0.0)


class _Twin(NamedTuple):
    """These are two copies of one agent: its pairs (z, z') grouped by (s, s'), with the coupled law of the actions."""

    left: np.ndarray
    right: np.ndarray
    first: np.ndarray
    weight: np.ndarray

    @classmethod
    def of(cls, laws: LocalLaws, i: int, policy: np.ndarray) -> "_Twin":
        states, begin = laws.num_states[i], laws.first[i]
        apart = in_order(np.repeat(policy, states, axis=0), np.tile(policy, (states, 1)))
        left, right, weight = [], [], []
        for s, other in np.ndindex(states, states):
            z, w = (g.reshape(-1) for g in np.meshgrid(*(np.arange(*begin[[x, x + 1]]) for x in (s, other)), indexing="ij"))
            a, b = laws.pair_action[i][z], laws.pair_action[i][w]
            left.append(z)
            right.append(w)
            weight.append(np.where(a == b, policy[s, a], 0.0) if s == other else apart[s * states + other, a, b])
        first = np.cumsum([0, *map(len, left)])
        return cls(np.concatenate(left), np.concatenate(right), first, np.concatenate(weight))


def _earlier(
    laws: LocalLaws, twins: list[_Twin], region: list[int], wider: list[int], h: np.ndarray, memory: float
) -> np.ndarray:
    """Computes E[h(two copies of `region` one step later)] as a function of the states of two copies of `wider`."""
    factors = []
    for k in region:
        lists = []
        for j in laws.neighbors[k]:
            left, right = twins[j].left, twins[j].right
            if not laws.sees_pairs and j != k:  # of the others it sees the states only
                left, right = left[twins[j].first[:-1]], right[twins[j].first[:-1]]
            lists.append((left, right))
        table = _coupled_law(laws, k, lists, memory)
        if not laws.sees_pairs:
            axis = laws.own[k]
            shaped = twins[k].weight.reshape([-1 if x == axis else 1 for x in range(table.ndim)])
            table = np.add.reduceat(table * shaped, twins[k].first[:-1], axis=axis)
        factors.append(np.ascontiguousarray(table.reshape(-1, table.shape[-1])))
    sources = [len(twins[j].left if laws.sees_pairs else twins[j].first[:-1]) for j in wider]
    first = [twins[j].first for j in wider] if laws.sees_pairs else None
    plan = _plan(laws, region, wider, sources, first, memory)
    return plan.expect(factors, [twins[j].weight[None] for j in wider], h)


def _worst(laws: LocalLaws, region: list[int], wider: list[int], j: int, h: np.ndarray, memory: float) -> float:
    """Finds the largest E[h(two copies of `region` one step later)] over starts that differ at agent j only."""
    starts = {k: (np.arange(laws.num_pairs[k]),) * 2 for k in wider}
    starts[j] = np.triu_indices(laws.num_pairs[j], k=1)
    if not len(starts[j][0]):
        return 0.0
    for k in set(wider) - {*region, j}:
        if not laws.sees_pairs:
            starts[k] = (laws.first[k][:-1],) * 2
    factors = []
    for k in region:
        table = _coupled_law(laws, k, [starts[v] for v in laws.neighbors[k]], memory)
        factors.append(np.ascontiguousarray(table.reshape(-1, table.shape[-1])))
    plan = _plan(laws, region, wider, [len(starts[k][0]) for k in wider], None, memory)
    return min(1.0, float(plan.expect(factors, [], h).max()))


def _coupled_law(laws: LocalLaws, k: int, lists: list[tuple[np.ndarray, np.ndarray]], memory: float) -> np.ndarray:
    """Couples the laws of agent k's two next states, [len of every list, S_k^2]; lists: pairs (z_j, z_j') of j in N_k."""
    shape, states = [len(left) for left, _ in lists], laws.num_states[k]
    if 24 * math.prod(shape) * states**2 > memory * 2**30:  # the law and what it takes to make it
        raise ConfigError(
            f"two copies of agent {k} and its neighbors have {size(math.prod(shape))} joint pairs, too many to couple "
            "exactly; use a shorter horizon or a smaller network"
        )
    p, q = (
        laws.law[k][np.ix_(*(laws.seen(k, j, z[side]) for j, z in zip(laws.neighbors[k], lists, strict=True)))]
        for side in (0, 1)
    )
    return coupled(p.reshape(-1, states), q.reshape(-1, states)).reshape(*shape, states**2)


def _plan(
    laws: LocalLaws, region: list[int], wider: list[int], sources: list[int], first: list[np.ndarray] | None, memory: float
) -> Elimination:
    scopes = [[wider.index(v) for v in laws.neighbors[k]] for k in region]
    return Elimination(scopes, sources, [laws.num_states[k] ** 2 for k in region], first, memory)
