"""No policy earns more than this: a linear program over the laws of small groups of agents bounds the average reward.

For any function h of the joint state, E[h(s') - h(s)] has mean 0 in the long run, under every policy. With h the sum of one
function per group D of agents, a step's gain is a sum over clusters, each a group with what its laws see,

    (1/n) sum_i r_i + sum_s' P(s'|s, a) h(s') - h(s) = sum_C g_C(z_C) <= sum_C max g_C,

and so is the average reward of every policy at most the right side, whatever h is. The best h is the dual solution of a
linear program over the marginals mu_C(z_C): those of groups are stationary, those of clusters that overlap agree.
docs/exact.md has the proof and what it is worth. scipy is imported here alone, with the first bound.
"""

import math
from typing import Any, NamedTuple

import numpy as np

from marl.core.checks import integer, size
from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError, MarlError
from marl.exact.clusters import Cluster, Sight, agreements, classes_of, groups
from marl.exact.local_laws import LocalLaws

MAX_ENTRIES = 2**21
"""Most entries of a linear program that is asked for: minutes, and some GiB."""
QUICK = 2**18
"""Most entries where the order is not said: about ten seconds."""


class MarginalBound(NamedTuple):
    """This is an upper bound on the average reward per agent and step of every policy, and what it was computed from.

    value: the bound. order: how many agents a group has. variables, constraints: the size of the linear program.
    """

    value: float
    order: int
    variables: int
    constraints: int


class Program(NamedTuple):
    """This is the linear program max gain . mu, balance mu = 0, mu >= 0, where the mu of every cluster have sum one.

    Shapes: gain [V], balance [R, V] (sparse), start [K]: where the variables of every cluster begin.
    """

    gain: np.ndarray
    balance: Any
    start: np.ndarray


def marginal_bound(env: NetworkedMDP, order: int | None = None) -> MarginalBound:
    """Bounds the average reward of every policy from above, centralized, randomized and history-dependent ones included.

    order: how many agents, connected in the network, a group has: 1 (agents), 2 (edges), 3, ...; more is tighter and takes
    longer, at `env.n` it is the optimum. None = the largest one whose program has at most 2^18 entries, or 1.

    The value is a bound whatever the solver returns: it is computed from its multipliers (see `certified`).
    Errors: `ConfigError` if the program has over 2^21 entries, the laws of neighborhoods cannot be listed, or scipy is
    missing; `MarlError` if the solver gives up.
    """
    _scipy()
    laws = LocalLaws(env)
    sight = Sight(laws)
    size_of_group = 1 if order is None else integer("order", order, 1)
    clusters = _clusters(sight, size_of_group, MAX_ENTRIES)
    while order is None and size_of_group < laws.n and (larger := _clusters(sight, size_of_group + 1, QUICK)) is not None:
        size_of_group, clusters = size_of_group + 1, larger
    if clusters is None:
        raise ConfigError(
            f"the linear program over groups of {size_of_group} of {laws.n} agents has more than the {size(MAX_ENTRIES)} "
            "entries that can be solved for; take a smaller order, or fewer agents, states, actions or neighbors"
        )
    made = program(clusters)
    return MarginalBound(certified(made, multipliers(made)), size_of_group, len(made.gain), made.balance.shape[0])


def program(clusters: list[Cluster]) -> Program:
    """States the linear program of these clusters, whose groups hold every agent."""
    _, sparse = _scipy()
    start = np.cumsum([0] + [cluster.size for cluster in clusters])
    gain, paid = np.zeros(start[-1]), set[int]()
    entries: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # row, column, value
    rows = 0
    for cluster, first in zip(clusters, start[:-1], strict=True):
        cells = first + np.arange(cluster.size)
        for i in set(cluster.group) - paid:
            gain[cells] += cluster.reward(i) / cluster.laws.n
        paid.update(cluster.group)
        moved, chance = cluster.next_states()
        entries.append((rows + moved.ravel(), np.repeat(cells, moved.shape[1]), chance.ravel()))
        entries.append((rows + cluster.number(cluster.states()), cells, np.full(cluster.size, -1.0)))
        rows += classes_of(cluster.states())
    for a, b, view in agreements(clusters):
        for k, sign in (a, 1.0), (b, -1.0):
            cells = np.arange(clusters[k].size)
            entries.append((rows + clusters[k].number(view), start[k] + cells, np.full(len(cells), sign)))
        rows += classes_of(view)
    row, column, value = (np.concatenate(part) for part in zip(*entries, strict=True))
    return Program(gain, sparse.csr_array((value, (row, column)), shape=(rows, start[-1])), start[:-1])


def multipliers(made: Program) -> np.ndarray:
    """Solves the program and returns the multipliers of its balance equations. Shapes: [R].

    The solver sees gains from 0 to 1, for its tolerances are absolute; what is the same in a whole cluster does not matter.
    """
    optimize, sparse = _scipy()
    count, variables = len(made.start), len(made.gain)
    cluster = np.repeat(np.arange(count), np.diff(np.append(made.start, variables)))
    mass = sparse.csr_array((np.ones(variables), (cluster, np.arange(variables))))
    right = np.append(np.zeros(made.balance.shape[0]), np.ones(count))
    gain = made.gain - np.minimum.reduceat(made.gain, made.start)[cluster]
    scale = float(gain.max()) or 1.0
    found = optimize.linprog(-gain / scale, A_eq=sparse.vstack([made.balance, mass]), b_eq=right, method="highs-ipm")
    if found.x is None:
        raise MarlError(f"the linear program of the bound was given up: {found.message}; another order may do")
    return -scale * found.eqlin.marginals[:-count]


def certified(made: Program, y: np.ndarray) -> float:
    """Bounds gain . mu over all mu that are feasible, by any multipliers: sum_C max over z_C of (gain - balance^T y).

    For balance mu = 0 adds nothing, and the mu of a cluster have sum one. Rounding is bounded and added. Shapes: y [R].
    """
    magnitude = np.abs(made.gain) + abs(made.balance).T @ np.abs(y) + np.abs(y).max()
    terms = np.bincount(made.balance.indices, minlength=len(made.gain)) + 8
    reduced = made.gain - made.balance.T @ y + 2.0**-52 * terms * magnitude
    return math.nextafter(math.fsum(np.maximum.reduceat(reduced, made.start)), math.inf)


def _clusters(sight: Sight, order: int, most: int) -> list[Cluster] | None:
    """Makes the clusters of an order; None if their program has over `most` entries."""
    found = groups(sight.laws, order, most)
    if found is None:
        return None
    clusters, entries = [], 0
    for group in found:
        cluster = Cluster(sight, group)
        entries += cluster.size * (cluster.num_next + 1)
        if entries > most:
            return None
        clusters.append(cluster)
    return clusters


def _scipy() -> tuple[Any, Any]:
    try:
        from scipy import optimize, sparse
    except ModuleNotFoundError:
        raise ConfigError("a bound by linear programming needs scipy: pip install networked-marl[bounds]") from None
    return optimize, sparse
