"""Where the nodes of a graph are, if the source says it of all of them."""

import itertools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import networkx as nx
import numpy as np

PAIRS = ("x", "y"), ("lon", "lat"), ("longitude", "latitude")
"""What the two coordinates of a node are called, in any case."""

Node = Mapping[str, Any]


def of(graph: "nx.Graph[Any]", nodes: Sequence[Hashable]) -> np.ndarray | None:
    """Returns the positions of `nodes` as float64 [n, 2], in the units of the source, or None.

    A node has its position as pos = [x, y], as x and y, as lon and lat (or longitude and latitude), or as Gephi writes
    it, in `graphics` (GML) or viz:position (GEXF). All nodes must have theirs, in the same way and finite: else None.
    """
    for place in (_pos, _own, _gml, _gexf):
        pairs = (place(graph.nodes[node]) for node in nodes)
        rows = list(itertools.takewhile(lambda pair: pair is not None, pairs))
        if len(rows) == len(nodes) and (found := _numbers(rows)) is not None:
            return found
    return None


def _numbers(rows: list[Any]) -> np.ndarray | None:
    try:
        found = np.asarray(rows, dtype=np.float64)
    except (TypeError, ValueError):  # words, or rows of several lengths
        return None
    return found if found.ndim == 2 and found.shape[1] == 2 and np.isfinite(found).all() else None


def _pos(node: Node) -> Any:
    return node.get("pos")


def _own(node: Node) -> Any:
    lower = {str(key).lower(): value for key, value in node.items()}
    return next(([lower[a], lower[b]] for a, b in PAIRS if a in lower and b in lower), None)


def _gml(node: Node) -> Any:
    return _inside(node, "graphics")


def _gexf(node: Node) -> Any:
    return _inside(node.get("viz"), "position")


def _inside(outer: Any, key: str) -> Any:
    inner = outer.get(key) if isinstance(outer, Mapping) else None
    return _own(inner) if isinstance(inner, Mapping) else None
