"""Graph files of every kind give the same network; whatever cannot be meant is refused by name and reason."""

import json
from collections.abc import Callable
from pathlib import Path

import jaxtyping
import networkx as nx
import pytest

from marl.core.errors import ConfigError, NetworkError
from marl.core.network import Network
from tests.core.test_network import EDGES, GRAPH, pairs

EDGE_LIST = "# four nodes\n\n2 3\n0 1  # the first\n1 0\n0 2\n1 2\n"
EDGE_JSON = json.dumps({"n": 4, "edges": EDGES})


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No type checks of the test session: what a user sees who gives a wrong type."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def node_link(graph: "nx.Graph[int]", name: str) -> str:
    return json.dumps(nx.node_link_data(graph, edges=name))


def graphml(graph: "nx.Graph[int]") -> str:
    return "\n".join(nx.generate_graphml(graph))


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
        ("three.txt", "0 1\n\n0 1 a\n", "line 3 has 3 words"),
        ("spaces.txt", "New York Boston\n", "line 1 has 3 words"),
        ("many.json", '{"n": 1000000000000, "edges": [[0, 1]]}', "1000000000000 nodes and 1 edges, so it is not connected"),
        ("short.csv", "a,b\nc\n", "line 2 has no two node names"),
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


LAUGHS = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("ending", ["graphml", "gexf"])
def test_entities_are_refused_before_they_grow(tmp_path: Path, ending: str, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?>{LAUGHS}<x>&b;</x>'
    (tmp_path / f"graph.{ending}").write_bytes(text.encode(encoding))
    with pytest.raises(NetworkError, match="declares the entity 'a'"):
        Network.from_file(tmp_path / f"graph.{ending}")


def test_a_device_without_end_is_no_graph() -> None:
    with pytest.raises(NetworkError, match="it is a device"):
        Network.from_file("/dev/zero")
