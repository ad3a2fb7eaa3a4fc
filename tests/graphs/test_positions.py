"""Where nodes are: read from whatever says it of all of them, and from nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from marl import Network

WAYS: dict[str, Callable[[float, float], dict[str, Any]]] = {
    "pos": lambda x, y: {"pos": [x, y]},
    "x and y": lambda x, y: {"x": x, "y": y},
    "lon and lat": lambda x, y: {"lat": y, "lon": x},
    "as the Topology Zoo": lambda x, y: {"Country": "CH", "Longitude": x, "Latitude": y},
    "as Gephi in GML": lambda x, y: {"graphics": {"x": x, "y": y, "z": 0.0, "fill": "#000000"}},
}
POSITIONS = [[1.5, -2.0], [3.0, 4.0], [0.0, 0.25]]


def graph(way: Callable[[float, float], dict[str, Any]]) -> "nx.Graph[str]":
    made: nx.Graph[str] = nx.path_graph(["c", "a", "b"])
    for node, (x, y) in zip(made, POSITIONS, strict=True):
        made.nodes[node].update(way(x, y))
    return made


def positions(network: Network) -> list[list[float]] | None:
    return None if network.positions is None else network.positions.tolist()


@pytest.mark.parametrize("way", WAYS)
def test_of_a_networkx_graph(way: str) -> None:
    assert positions(Network.from_networkx(graph(WAYS[way]))) == POSITIONS


def test_positions_follow_the_nodes_into_their_order() -> None:
    numbered = nx.relabel_nodes(graph(WAYS["pos"]), {"c": 7, "a": 1, "b": 3})
    assert positions(Network.from_networkx(numbered)) == [POSITIONS[1], POSITIONS[2], POSITIONS[0]]


@pytest.mark.parametrize("way", [way for way in WAYS if way != "pos" and "Gephi" not in way])
@pytest.mark.parametrize("ending", ["graphml", "gml", "gexf", "json"])
def test_of_files(tmp_path: Path, ending: str, way: str) -> None:
    path = tmp_path / f"graph.{ending}"
    if ending == "json":
        path.write_text(json.dumps(nx.node_link_data(graph(WAYS[way]), edges="edges")))
    else:
        getattr(nx, f"write_{ending}")(graph(WAYS[way]), path)
    assert positions(Network.from_file(path)) == POSITIONS


def test_of_json_with_pos_and_gml_with_graphics(tmp_path: Path) -> None:
    (tmp_path / "graph.json").write_text(json.dumps(nx.node_link_data(graph(WAYS["pos"]), edges="links")))
    nx.write_gml(graph(WAYS["as Gephi in GML"]), tmp_path / "graph.gml")
    for path in tmp_path.iterdir():
        assert positions(Network.from_file(path)) == POSITIONS


def test_of_what_gephi_writes(tmp_path: Path) -> None:
    nodes = "".join(
        f'<node id="{name}"><viz:position x="{x}" y="{y}" z="0.0"/></node>'
        for name, (x, y) in zip("cab", POSITIONS, strict=True)
    )
    space = "http://www.gexf.net/1.2draft"
    (tmp_path / "graph.gexf").write_text(
        f'<gexf xmlns="{space}" xmlns:viz="{space}/viz" version="1.2"><graph defaultedgetype="undirected" mode="static">'
        f'<nodes>{nodes}</nodes><edges><edge id="0" source="c" target="a"/><edge id="1" source="a" target="b"/></edges>'
        "</graph></gexf>"
    )
    assert positions(Network.from_file(tmp_path / "graph.gexf")) == POSITIONS


@pytest.mark.parametrize(
    "last",
    [{}, {"x": 1.0}, {"pos": [1, 2]}, {"x": "west", "y": 2.0}, {"x": float("nan"), "y": 1.0}, {"x": None, "y": 1.0}],
    ids=str,
)
def test_none_if_one_node_has_none(last: dict[str, Any]) -> None:
    made = graph(WAYS["x and y"])
    made.nodes["b"].clear()
    made.nodes["b"].update(last)
    assert Network.from_networkx(made).positions is None


@pytest.mark.parametrize("pos", [[1, 2, 3], 5, "ab", {"x": 1, "y": 2}, [[1, 2], [3, 4]]], ids=str)
def test_other_things_that_are_called_pos(pos: object) -> None:
    made: nx.Graph[int] = nx.path_graph(2)
    nx.set_node_attributes(made, pos, "pos")
    assert Network.from_networkx(made).positions is None


def test_a_graph_without_positions() -> None:
    assert Network.from_networkx(nx.path_graph(3)).positions is None
