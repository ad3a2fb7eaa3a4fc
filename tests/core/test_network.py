"""Networks: files, topologies and neighborhoods against plain loops and networkx, and every refusal in words."""

import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import jaxtyping
import networkx as nx
import numpy as np
import pytest

from marl.core.errors import ConfigError, NetworkError
from marl.core.network import Network
from tests.oracles import hop_neighborhood

EDGES = [(0, 1), (0, 2), (1, 2), (2, 3)]
GRAPH = nx.Graph(EDGES)
EDGE_LIST = "# four nodes\n\n2 3\n0 1  # the first\n1 0\n0 2\n1 2\n"
EDGE_JSON = json.dumps({"n": 4, "edges": EDGES})


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No type checks of the test session: what a user sees who gives a wrong type."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def pairs(network: Network) -> list[tuple[int, int]]:
    return [(i, j) for i, j in network.edges.tolist()]


def node_link(graph: "nx.Graph[int]", name: str) -> str:
    return json.dumps(nx.node_link_data(graph, edges=name))


def graphml(graph: "nx.Graph[int]") -> str:
    return "\n".join(nx.generate_graphml(graph))


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


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("edges.txt", EDGE_LIST),
        ("noending", EDGE_LIST),
        ("edges.json", EDGE_JSON),
        ("links.json", node_link(GRAPH, "links")),
        ("node_link.json", node_link(GRAPH, "edges")),
        ("many.json", node_link(nx.MultiGraph([*EDGES, (1, 0)]), "edges")),
        ("graph.graphml", graphml(GRAPH)),
    ],
)
def test_every_kind_of_file_gives_the_same_graph(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    for path in (tmp_path / name, str(tmp_path / name)):
        network = Network.from_file(path)
        assert (network.n, pairs(network)) == (4, EDGES)


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


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Network.from_edges(3, [(0, 1), (2, 2)]), "node 2 has an edge to itself"),
        (lambda: Network.from_edges(3, [(0, 3)]), "names node 3, but nodes are numbered 0 to 2"),
        (lambda: Network.from_edges(3, [(-1, 0)]), "names node -1"),
        (lambda: Network.from_edges(3, [(0, 1, 2)]), "pairs of node numbers"),
        (lambda: Network.from_edges(3, [(0, 1), (2,)]), "two nodes"),
        (lambda: Network.from_edges(3, [(0.0, 1.5)]), "pairs of node numbers"),
        (lambda: Network.from_edges(3, [("0", "1")]), "pairs of node numbers"),
        (lambda: Network.from_edges(0, []), "number of nodes"),
        (lambda: Network.from_networkx(nx.DiGraph(EDGES)), "directed"),
        (lambda: Network.from_networkx(nx.Graph()), "number of nodes"),
        (lambda: Network.from_file("/no/such/graph.txt"), "/no/such/graph.txt cannot be read"),
        (lambda: Network.from_file("/no/such/graph.graphml"), "/no/such/graph.graphml cannot be read"),
        (lambda: Network.ring(2), "n must be a whole number of at least 3"),
        (lambda: Network.grid(0, 3), "rows"),
        (lambda: Network.king(3, 0), "cols"),
        (lambda: Network.random_geometric(5, 0.0), "radius"),
        (lambda: Network.random_geometric(5, -0.1), "radius"),
        (lambda: Network.random_geometric(5, 0.1, seed=-1), "seed"),
        (lambda: Network.line(3).neighborhood(-1), "kappa must be a whole number of at least 0, got -1"),
        (lambda: Network.line(3).neighborhood(1.5), "kappa must be a whole number of at least 0, got 1.5"),  # type: ignore[arg-type]
        (lambda: Network.line(3).neighborhood(True), "kappa"),
        (lambda: Network.line(3).neighborhood("1"), "kappa"),  # type: ignore[arg-type]
    ],
)
def test_refusals_say_what_is_wrong(unchecked: None, build: Callable[[], object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("loop.txt", "0 1\n1 1\n", "node 1 has an edge to itself"),
        ("loop_named.txt", "10 20\n20 20\n", "node 20 has an edge to itself"),
        ("three.txt", "0 1\n\n0 1 2\n", "line 3 has 3 words"),
        ("one.txt", "0 1\n2\n", "line 2 has 1 words"),
        ("parts.txt", "0 1\n2 3\n", "not connected: it falls into 2 parts"),
        ("stray.json", '{"n": 3, "edges": [[0, 1]]}', "not connected: it falls into 2 parts"),
        ("empty.txt", "# nothing\n", "number of nodes"),
        ("bad.json", "{", "cannot be read"),
        ("keys.json", '{"n": 3}', "expected"),
        ("list.json", "[[0, 1]]", "expected"),
        ("range.json", '{"n": 2, "edges": [[0, 2]]}', "names node 2"),
        ("ragged.json", '{"n": 3, "edges": [[0, 1], [2]]}', "two nodes"),
        ("zero.json", '{"n": 0, "edges": []}', "number of nodes"),
        ("bad.graphml", "<graphml", "cannot be read"),
        ("directed.graphml", graphml(nx.DiGraph(EDGES)), "directed"),
        ("directed.json", node_link(nx.DiGraph(EDGES), "edges"), "directed"),
    ],
)
def test_files_are_refused_by_name_and_reason(tmp_path: Path, name: str, text: str, words: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(NetworkError, match=f"{name}.*{words}"):
        Network.from_file(tmp_path / name)


def test_a_file_in_parts_is_read_on_request(tmp_path: Path) -> None:
    (tmp_path / "parts.txt").write_text("a b\nc d\n")
    network = Network.from_file(tmp_path / "parts.txt", connected=False)
    assert (network.labels, pairs(network)) == (["a", "b", "c", "d"], [(0, 1), (2, 3)])


def test_whole_numbers_may_be_written_as_floats(unchecked: None) -> None:
    assert pairs(Network.grid(2.0, 2)) == [(0, 1), (0, 2), (1, 3), (2, 3)]  # type: ignore[arg-type]
    assert len(Network.king(3.0, 1).edges) == 2  # type: ignore[arg-type]


def test_a_radius_whose_inverse_is_infinite() -> None:
    assert len(Network.random_geometric(20, 1e-320).edges) == 0


def test_a_million_nodes_need_no_table_of_pairs() -> None:
    tracemalloc.start()
    try:
        began = time.perf_counter()
        network = Network.grid(1000, 1000)
        index, mask, size = network.neighborhood(1)
        took = time.perf_counter() - began
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert took < 30.0
    assert peak < 2e9, "n x n would need 1.25e11 bytes even at one bit a pair"
    assert size.bincount().tolist() == [0, 0, 0, 4, 4 * 998, 998**2]
    assert index[500_500, mask[500_500]].tolist() == [499_500, 500_499, 500_500, 500_501, 501_500]
