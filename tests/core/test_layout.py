"""Nodes are placed so that a picture shows the graph: regular graphs as they are known, others with neighbors together."""

import networkx as nx
import numpy as np
import pytest

from marl import Network
from marl.graphs.layout import positions

GRAPHS = {
    "random geometric": Network.random_geometric(150, 0.14, 0),
    "tree": Network.from_networkx(nx.random_labeled_tree(80, seed=1)),
    "hub": Network.from_edges(41, [(0, j) for j in range(1, 41)]),
    "two components and a stray node": Network.from_edges(9, [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 6), (6, 3)]),
    "scale-free": Network.from_networkx(nx.barabasi_albert_graph(600, 2, seed=0)),
    "two nodes, no edge": Network(2, []),
    "nobody knows anybody": Network(7, []),
}


def placed(network: Network) -> np.ndarray:
    found = positions(network.to_networkx())
    assert found.shape == (network.n, 2)
    assert found.dtype == np.float64
    assert np.isfinite(found).all()
    return found


def distances(x: np.ndarray) -> np.ndarray:
    """Between all pairs of different nodes."""
    apart = np.linalg.norm(x[:, None] - x, axis=2)
    return apart[np.triu_indices(len(x), 1)]


@pytest.mark.parametrize("name", GRAPHS)
def test_no_two_nodes_stand_on_one_another_and_neighbors_stand_together(name: str) -> None:
    network = GRAPHS[name]
    x = placed(network)
    all_pairs = distances(x)
    assert all_pairs.min() > 1e-3 * all_pairs.max()
    if len(network.edges):
        edges = np.linalg.norm(x[network.edges[:, 0]] - x[network.edges[:, 1]], axis=1)
        assert edges.mean() < 0.8 * all_pairs.mean()
    np.testing.assert_array_equal(placed(network), x)


@pytest.mark.parametrize("make", [Network.grid, Network.king])
@pytest.mark.parametrize(("rows", "cols"), [(3, 7), (7, 3), (2, 2), (4, 4)])
def test_a_grid_stands_in_rows(make: type, rows: int, cols: int) -> None:
    expected = [[column, -row] for row in range(rows) for column in range(cols)]
    np.testing.assert_array_equal(placed(make(rows, cols)), expected)


def test_a_line_is_straight_or_folded() -> None:
    np.testing.assert_array_equal(placed(Network.line(5)), [[k, 0] for k in range(5)])
    np.testing.assert_array_equal(placed(Network.line(1)), [[0, 0]])
    long = placed(Network.line(50))
    np.testing.assert_allclose(np.linalg.norm(np.diff(long, axis=0), axis=1), 1.0)
    assert np.ptp(long, axis=0).tolist() == [7.0, 6.0]


def test_a_ring_is_a_circle() -> None:
    x = placed(Network.ring(9))
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1.0)
    np.testing.assert_allclose(np.linalg.norm(x - np.roll(x, 1, axis=0), axis=1), 2 * np.sin(np.pi / 9))


def test_a_grid_that_lacks_an_edge_is_no_grid() -> None:
    edges = Network.grid(3, 3).edges
    assert not np.array_equal(np.rint(x := placed(Network.from_edges(9, edges[1:]))), x)


def test_components_stay_together() -> None:
    """They repel one another, and nothing but the middle holds them."""
    network = GRAPHS["two components and a stray node"]
    x = placed(network)
    edges = np.linalg.norm(x[network.edges[:, 0]] - x[network.edges[:, 1]], axis=1)
    assert np.ptp(x, axis=0).max() < 8 * edges.mean()
