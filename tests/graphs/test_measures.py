"""The figures of a graph against networkx's own, one search from every node."""

import networkx as nx
import pytest

from marl.graphs import measures as module
from marl.graphs.measures import measures

GRAPHS = {
    "line": nx.path_graph(7),
    "ring": nx.cycle_graph(8),
    "hub": nx.star_graph(9),
    "grid": nx.grid_2d_graph(3, 5),
    "random": nx.connected_watts_strogatz_graph(60, 4, 0.2, seed=3),
    "karate": nx.karate_club_graph(),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_connected_graph(name: str) -> None:
    graph = GRAPHS[name]
    found = measures(graph)
    assert (found.n, found.edges, found.components) == (len(graph), graph.number_of_edges(), [len(graph)])
    assert (found.diameter, found.exact) == (nx.diameter(graph), True)
    degrees = [degree for _, degree in graph.degree]
    assert found.degrees == {degree: degrees.count(degree) for degree in sorted({*degrees})}
    assert found.mean_degree == pytest.approx(sum(degrees) / len(degrees))


def test_of_several_components_the_largest_has_the_diameter() -> None:
    graph = nx.disjoint_union_all([nx.path_graph(4), nx.complete_graph(6), nx.empty_graph(2)])
    found = measures(graph)
    assert (found.components, found.diameter) == ([6, 4, 1, 1], 1)
    assert found.degrees == {0: 2, 1: 2, 2: 2, 5: 6}


def test_a_single_node() -> None:
    assert measures(nx.empty_graph(1)) == (1, 0, {0: 1}, [1], 0, True)


def test_a_large_component_is_bounded_from_below(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGE", 5)
    found = measures(GRAPHS["random"])
    assert not found.exact
    assert nx.radius(GRAPHS["random"]) <= found.diameter <= nx.diameter(GRAPHS["random"])
