"""Graph files of every kind give the same network; whatever cannot be meant is refused by name and reason."""

import json
from collections.abc import Callable, Hashable
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


WRITERS: dict[str, Callable[..., None]] = {
    "data.edgelist": nx.write_edgelist,
    "plain.txt": lambda graph, path: nx.write_edgelist(graph, path, data=False),
    "weights.edgelist": nx.write_weighted_edgelist,
    "graph.adjlist": nx.write_adjlist,
    "graph.gml": nx.write_gml,
    "graph.gexf": nx.write_gexf,
    "graph.graphml": nx.write_graphml,
}
"""What networkx writes, by the name that people give it."""


def path_of(*names: Hashable) -> "nx.Graph[Hashable]":
    graph = nx.path_graph(len(names))
    nx.set_edge_attributes(graph, 2.5, "weight")
    nx.set_edge_attributes(graph, "#a1b2c3 {x}", "color")
    return nx.relabel_nodes(graph, dict(enumerate(names)))


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("names", "labels", "edges"),
    [
        ((10, 2, 33, 0), [0, 2, 10, 33], [(0, 3), (1, 2), (1, 3)]),
        (("Zürich", "Bern", "東京"), ["Zürich", "Bern", "東京"], [(0, 1), (1, 2)]),
        (("007", "08", "7"), ["007", "08", "7"], [(0, 1), (1, 2)]),
    ],
)
def test_what_networkx_writes(
    tmp_path: Path, name: str, names: tuple[Hashable, ...], labels: list[Hashable], edges: list[tuple[int, int]]
) -> None:
    """Numbers are put in order, whatever the kind of file; a name with leading zeros is none."""
    WRITERS[name](path_of(*names), tmp_path / name)
    network = Network.from_file(tmp_path / name)
    assert (network.labels, pairs(network)) == (labels, edges)


GML = """graph
[
  Creator "Gephi"
  directed 0
  node [ id 4 {first} ]
  node
  [
    id 7
    {second}
    graphics
    [
      x 1.5
      fill "#000000"
    ]
  ]
  edge [ id 0 source 4 target 7 label "of the edge" value 1.0 ]
]
"""
GEXF = """<?xml version="1.0" encoding="UTF-8"?>
<gexf xmlns="{space}" xmlns:viz="{space}/viz" version="{version}"><graph defaultedgetype="undirected" mode="static">
<nodes><node id="a" label="Zürich"><viz:size value="10.0"/></node><node id="b" label="B"/></nodes>
<edges><edge id="0" source="a" target="b" weight="2.0"/></edges></graph></gexf>
"""
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")
"""As Unix, Excel and Windows write text: the latter two with a byte order mark."""


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("name", "text", "labels"),
    [
        ("excel.csv", "Source;Target;Weight\r\n007;08;0,5\r\n08;Zürich;1,5\r\n;;\r\n", ["007", "08", "Zürich"]),
        ("plain.csv", "007,08\n08,Zürich\n", ["007", "08", "Zürich"]),
        ("pandas.csv", ",weight,from,to\n0,1,007,08\n1,2,08,Zürich\n", ["007", "08", "Zürich"]),
        ("gephi.csv", "Source,Target,Type,Id,Label\n3,1,Undirected,0,\n1,2,Undirected,1,\n", [1, 2, 3]),
        ("comments.csv", "# by hand, in May\n#a,#b\n\n# more\n#b,#c\n", ["#a", "#b", "#c"]),
        ("quoted.csv", '"New York, NY","a\nb"\n"a\nb",c\n', ["New York, NY", "a\nb", "c"]),
        ("names.tsv", "New York, NY\tBoston, MA\nBoston, MA\tc; d\n", ["New York, NY", "Boston, MA", "c; d"]),
        ("edges.txt", "# by hand\r\nZürich b 0.5\r\nb c\r\n", ["Zürich", "b", "c"]),
        ("graph.adjlist", "# by hand\nb Zürich c\nc\n", ["b", "Zürich", "c"]),
        ("areas.gal", "3\n007 1\n08\n08 2\n007 Zürich\nZürich 1\n08\n", ["007", "08", "Zürich"]),
        ("codes.gal", "0 3 counties FIPSNO\n30 1\n10\n10 2\n20 30\n20 0\n\n", [10, 20, 30]),
        ("labels.gml", GML.format(first='label "Zürich"', second='label "B"'), ["Zürich", "B"]),
        ("numbers.gml", GML.format(first='label "12"', second='label "3"'), [3, 12]),
        ("none.gml", GML.format(first="", second=""), [4, 7]),
        ("same.gml", GML.format(first='label "x"', second='label "x"'), [4, 7]),
        ("links.json", node_link(path_of("Zürich", "b"), "links"), ["Zürich", "b"]),
    ],
)
def test_what_programs_and_people_write(
    tmp_path: Path, name: str, text: str, labels: list[Hashable], encoding: str
) -> None:
    (tmp_path / name).write_bytes(text.encode(encoding))
    network = Network.from_file(tmp_path / name)
    assert network.labels == labels
    assert len(network.edges) == len(labels) - 1


@pytest.mark.parametrize(
    ("version", "space"),
    [("1.1", "http://www.gexf.net/1.1draft"), ("1.2", "http://www.gexf.net/1.2draft"), ("1.3", "http://gexf.net/1.3")],
)
def test_what_gephi_writes(tmp_path: Path, version: str, space: str) -> None:
    (tmp_path / "graph.gexf").write_bytes(GEXF.format(version=version, space=space).encode("utf-8-sig"))
    assert Network.from_file(tmp_path / "graph.gexf").labels == ["a", "b"]


def test_a_stray_node_of_an_adjacency_list_is_one_node(tmp_path: Path) -> None:
    (tmp_path / "graph.adjlist").write_text("0 1\n1\na\n")
    assert Network.from_file(tmp_path / "graph.adjlist", connected=False).labels == ["0", "1", "a"]


def test_text_of_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / "old.csv").write_bytes("Zürich,b\n".encode("cp1252"))
    with pytest.raises(NetworkError, match=r"old\.csv: it is no UTF-8 text \(byte 2\); save it as UTF-8"):
        Network.from_file(tmp_path / "old.csv")


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
        ("d.dot", "graph G { a -- b; b -- c; }\n", "line 1 has 10 words"),
        ("block.txt", "a b {\nb c {\n", "line 1 has 3 words"),
        ("matrix.csv", "0,1,0\n1,0,1\n0,1,0\n", "looks like an adjacency matrix of 3 nodes"),
        ("matrix.txt", "0 1 0 0\n1 0 1 0\n0 1 0 1\n0 0 1 0\n", "looks like an adjacency matrix of 4 nodes"),
        ("commas.txt", "0,1\n1,2\n", r"line 1 has 1 words.*ends in \.csv"),
        ("adjacency.txt", "0 1 2 3 a\n", r"line 1 has 5 words.*in \.adjlist"),
        ("half.csv", "source,target\na,b\n,c\n", "line 3 has no two node names"),
        ("parts.txt", "0 1\n2 3\n", "not connected: it falls into 2 parts"),
        ("stray.json", '{"n": 3, "edges": [[0, 1]]}', "not connected: it falls into 2 parts"),
        ("empty.txt", "# nothing\n", "number of nodes"),
        ("bad.json", "{", "cannot be read"),
        ("keys.json", '{"n": 3}', "expected"),
        ("list.json", "[[0, 1]]", "expected"),
        ("range.json", '{"n": 2, "edges": [[0, 2]]}', "names node 2"),
        ("ragged.json", '{"n": 3, "edges": [[0, 1], [2]]}', "two nodes"),
        ("zero.json", '{"n": 0, "edges": []}', "number of nodes"),
        ("areas.gal", "3\na 1\nb\nb 1\na\n", "lists 2 areas and names 2; its first line says: 3"),
        ("stray.gal", "2\na 1\nb\nb 1\nc\n", "lists 2 areas and names 3; its first line says: 2"),
        ("head.gal", "two areas\na 1\nb\nb 0\n", "lists 2 areas and names 2; its first line says: two areas"),
        ("short.gal", "2\na 1\nb\nb 2\na\n", "area b has no number of neighbors, or fewer of them than it says"),
        ("words.gal", "2\na b\nb a\n", "area a has no number of neighbors"),
        ("end.gal", "1\na\n", "area a has no number of neighbors"),
        ("empty.gal", "", "lists 0 areas and names 0; its first line says: "),
        ("loop.gal", "2\na 2\na b\nb 1\na\n", "node a has an edge to itself"),
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
