"""The capacity of a conflict graph: closed forms, and every corner of the dual polytope on random graphs."""

import itertools
import math

import networkx as nx
import numpy as np
import pytest

from marl import Network, Scheduling
from marl.core.errors import ConfigError
from marl.envs.scheduling import capacity, maximal_independent_sets


@pytest.mark.parametrize(
    ("graph", "factor"),
    [("ring:6", 1 / 2), ("ring:10", 1 / 2), ("ring:5", 2 / 5), ("ring:7", 3 / 7), ("ring:3", 1 / 3), ("line:1", 1.0)],
)
def test_rings(graph: str, factor: float) -> None:
    """An even ring carries lam < q / 2, one of 2 k + 1 links lam < q k / (2 k + 1)."""
    assert capacity(Scheduling(graph, arrival=0.25, success=0.8)) == pytest.approx(0.8 * factor / 0.25)


def test_bipartite_graphs_are_held_by_their_edges() -> None:
    """Perfect graphs: the heaviest clique counts; bipartite ones: the heaviest edge, lam_i / q_i + lam_j / q_j."""
    lam, q = [0.1, 0.5, 0.2, 0.0, 1.0, 0.3], [0.8, 1.0, 0.5, 0.7, 0.9, 0.3]
    load = [x / y for x, y in zip(lam, q, strict=True)]
    for network in Network.grid(2, 3), Network.line(6), Network.from_edges(6, [(3, j) for j in (0, 1, 2, 4, 5)]):
        heaviest = max(load[i] + load[j] for i, j in network.edges.tolist())
        assert capacity(Scheduling(network, 3, lam, q)) == pytest.approx(1 / heaviest)


@pytest.mark.parametrize("seed", range(8))
def test_random_graphs_against_every_corner(seed: int) -> None:
    """1 / x is the largest load . y over all corners of {y >= 0, sum over any independent set <= 1}."""
    draw = np.random.default_rng(seed)
    graph = nx.gnp_random_graph(5, 0.5, seed=seed)
    lam, q = draw.random(5), draw.uniform(0.2, 1.0, 5)
    sets = [x for k in range(1, 6) for x in itertools.combinations(range(5), k) if graph.subgraph(x).size() == 0]
    full = [x for x in sets if not any(set(x) < set(other) for other in sets)]
    rows = np.array([[float(i in x) for i in range(5)] for x in full] + (-np.eye(5)).tolist())
    right = np.array([1.0] * len(full) + [0.0] * 5)
    best = 0.0
    for tight in itertools.combinations(range(len(rows)), 5):
        if abs(np.linalg.det(rows[list(tight)])) > 1e-9:
            y = np.linalg.solve(rows[list(tight)], right[list(tight)])
            if (rows @ y <= right + 1e-9).all():
                best = max(best, float((lam / q) @ y))
    assert capacity(Scheduling(Network.from_networkx(graph), 3, lam.tolist(), q.tolist())) == pytest.approx(1 / best)


def test_the_sets_are_maximal_independent_and_in_order() -> None:
    assert maximal_independent_sets(Network.line(4)).astype(int).tolist() == [[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 0, 1]]
    assert maximal_independent_sets(Network.from_edges(3, [])).tolist() == [[True] * 3]
    assert len(maximal_independent_sets(Network.from_networkx(nx.disjoint_union_all([nx.complete_graph(3)] * 6)))) == 3**6


def test_parts_are_apart_and_ends_are_said() -> None:
    assert capacity(Scheduling(Network.from_edges(60, [(i, i + 1) for i in range(0, 60, 2)]))) == pytest.approx(2.0)
    assert capacity(Scheduling("ring:4", arrival=0.0)) == math.inf
    assert capacity(Scheduling("line:3", arrival=[0.1, 0.1, 0.1], success=[0.5, 0.0, 0.5])) == 0.0
    assert capacity(Scheduling("line:3", arrival=[0.1, 0.0, 0.1], success=[0.5, 0.0, 0.5])) == pytest.approx(5.0)
    assert capacity(Scheduling("ring:24")) == pytest.approx(2.0)
    with pytest.raises(ConfigError, match="independent sets of 31 links are too many to list"):
        capacity(Scheduling("ring:31"))
