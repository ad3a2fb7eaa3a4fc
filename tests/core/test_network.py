"""Networks: edges, topologies and neighborhoods against plain loops and networkx, up to a million nodes."""

import time
import tracemalloc

import networkx as nx
import numpy as np
import pytest

from marl.core.network import Network
from tests.oracles import hop_neighborhood

EDGES = [(0, 1), (0, 2), (1, 2), (2, 3)]
GRAPH = nx.Graph(EDGES)


def pairs(network: Network) -> list[tuple[int, int]]:
    return [(i, j) for i, j in network.edges.tolist()]


def test_from_edges_sorts_and_merges() -> None:
    messy = [(3, 2), (1, 0), (2, 1), (0, 1), (2, 0)]
    for given in (messy, tuple(messy), (pair for pair in messy), [list(pair) for pair in messy], np.array(messy)):
        assert pairs(Network.from_edges(5, given)) == EDGES
    assert Network.from_edges(3, []).edges.shape == (0, 2)


def test_from_networkx_numbers_integers_in_order_and_names_as_they_come() -> None:
    numbered = Network.from_networkx(nx.Graph([(30, 10), (10, 20)]))
    assert (numbered.labels, pairs(numbered)) == ([10, 20, 30], [(0, 1), (0, 2)])
    named = Network.from_networkx(nx.MultiGraph([("c", "a"), ("a", "b"), ("b", "a")]))
    assert (named.labels, pairs(named)) == (["c", "a", "b"], [(0, 1), (1, 2)])
    assert nx.utils.graphs_equal(Network.from_edges(4, EDGES).to_networkx(), GRAPH)


def test_topologies_against_networkx_and_loops() -> None:
    for n in range(1, 7):
        assert pairs(Network.line(n)) == [(i, i + 1) for i in range(n - 1)]
    for n in range(3, 7):
        assert nx.utils.graphs_equal(Network.ring(n).to_networkx(), nx.cycle_graph(n))
    for rows, cols in [(1, 1), (1, 4), (3, 1), (2, 2), (3, 5)]:
        place = [divmod(node, cols) for node in range(rows * cols)]
        steps = [
            (i, j, abs(x - v), abs(y - w)) for i, (x, y) in enumerate(place) for j, (v, w) in enumerate(place) if i < j
        ]
        assert pairs(Network.grid(rows, cols)) == [(i, j) for i, j, down, right in steps if down + right == 1]
        assert pairs(Network.king(rows, cols)) == [(i, j) for i, j, down, right in steps if max(down, right) == 1]
    assert [len(Network.grid(4, 7).edges), len(Network.king(4, 7).edges)] == [4 * 6 + 3 * 7, 4 * 6 + 3 * 7 + 2 * 3 * 6]
    assert sorted(dict(Network.king(3, 3).to_networkx().degree).values()) == [3] * 4 + [5] * 4 + [8]


@pytest.mark.parametrize("radius", [1e-9, 0.01, 0.08, 0.125, 0.3, 1 / 3, 0.5, 0.51, 0.9, 1.0, 1.3, 1.5, 40.0])
@pytest.mark.parametrize("n", [1, 2, 150])
def test_random_geometric_equals_the_double_loop(n: int, radius: float) -> None:
    for seed in (0, 5):
        points = np.random.default_rng(seed).random((n, 2)).tolist()
        near = [
            (i, j)
            for i, (x, y) in enumerate(points)
            for j, (v, w) in enumerate(points)
            if i < j and (x - v) ** 2 + (y - w) ** 2 < radius**2
        ]
        assert pairs(Network.random_geometric(n, radius, seed)) == near


@pytest.mark.parametrize(
    ("n", "probability", "seed"), [(1, 0.5, 0), (12, 0.05, 1), (15, 0.12, 2), (15, 0.3, 3), (9, 1.0, 4), (20, 0.1, 5)]
)
def test_neighborhood_equals_breadth_first_search(n: int, probability: float, seed: int) -> None:
    graph = nx.gnp_random_graph(n, probability, seed=seed)
    network = Network.from_edges(n, list(graph.edges))
    assert network.num_components() == nx.number_connected_components(graph)
    for kappa in [*range(5), n, n + 3, 10**9]:  # beyond every diameter it is the whole component
        index, mask, size = network.neighborhood(kappa)
        expected = [hop_neighborhood([list(graph[j]) for j in range(n)], i, kappa) for i in range(n)]
        assert size.tolist() == [len(members) for members in expected]
        width = max(map(len, expected))
        assert index.tolist() == [members + [i] * (width - len(members)) for i, members in enumerate(expected)]
        assert mask.tolist() == [[True] * len(members) + [False] * (width - len(members)) for members in expected]


def test_a_radius_whose_inverse_is_infinite() -> None:
    assert len(Network.random_geometric(20, 1e-320).edges) == 0


def test_a_million_nodes_need_no_table_of_pairs() -> None:
    tracemalloc.start()
    try:
        began = time.process_time()
        network = Network.grid(1000, 1000)
        index, mask, size = network.neighborhood(1)
        took = time.process_time() - began
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert took < 30.0
    assert peak < 2e9, "n x n would need 1.25e11 bytes even at one bit a pair"
    assert size.bincount().tolist() == [0, 0, 0, 4, 4 * 998, 998**2]
    assert index[500_500, mask[500_500]].tolist() == [499_500, 500_499, 500_500, 500_501, 501_500]


def test_components_of_a_long_path_in_random_order() -> None:
    """Labels must not creep along the path one edge a round."""
    n = 100_000
    order = np.random.default_rng(0).permutation(n)
    path = np.stack([order[:-1], order[1:]], axis=1)
    assert Network.from_edges(n, path).num_components() == 1
    assert Network.from_edges(n, np.delete(path, [10, 500], axis=0)).num_components() == 3
