"""Graph files as people have them are read here, each kind by the ending of its name. Text is UTF-8."""

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple
from xml.parsers import expat

import networkx as nx

HEADERS = ("source", "target"), ("from", "to"), ("src", "dst"), ("node1", "node2"), ("i", "j"), ("u", "v")
"""What the first line of a table of edges calls the two columns that matter, wherever they are, in any case."""


_DICTIONARY = re.compile(r"""\{(\}|['"\d(-])""")
"""How the data of an edge begin, as networkx writes them."""


class FormatError(ValueError):
    """The file was read, but it is not what its name says; the message says where."""


class Numbered(NamedTuple):
    """This is a graph whose nodes are numbers 0 .. n - 1 already. Nothing about it has been checked."""

    n: Any
    edges: Any


def read(path: Path) -> "nx.Graph[Any] | Numbered":
    """Reads a graph file; see `marl.Network.from_file`. Errors: `FormatError`, and whatever a damaged file leads to."""
    if path.is_char_device():  # such as /dev/zero, which never ends
        raise FormatError("it is a device, not a file")
    return READERS.get(path.suffix.lower(), _edge_list)(path)


def _json(path: Path) -> "nx.Graph[Any] | Numbered":
    data = json.loads(_text(path))
    if isinstance(data, dict) and "nodes" in data:
        return nx.node_link_graph(data, edges="links" if "links" in data else "edges")
    if not isinstance(data, dict) or set(data) != {"n", "edges"}:
        raise FormatError('expected {"n": ..., "edges": [[i, j], ...]} or networkx node-link data')
    return Numbered(data["n"], data["edges"])


def _graphml(path: Path) -> "nx.Graph[Any]":
    return _renamed(nx.read_graphml(_without_entities(path)))


def _gexf(path: Path) -> "nx.Graph[Any]":
    return _renamed(nx.read_gexf(_without_entities(path)))


def _gml(path: Path) -> "nx.Graph[Any]":
    """Nodes are called by their labels if each has one of its own, else by their numbers."""
    lines = _text(path).splitlines()
    try:
        return _renamed(nx.parse_gml(lines, label="label"))
    except nx.NetworkXError:
        return nx.parse_gml(lines, label="id")


def _adjacency_list(path: Path) -> "nx.Graph[Any]":
    """A node and its neighbors a line."""
    graph: nx.Graph[Any] = nx.Graph()
    for _, (node, *others) in _lines(path):
        graph.add_node(node)
        graph.add_edges_from((node, other) for other in others)
    return _renamed(graph)


def _edge_list(path: Path) -> "nx.Graph[Any]":
    """Two node names a line, and then perhaps a weight, or a dictionary as networkx writes it: both are left out."""
    pairs, lines = [], list(_lines(path))
    _refuse_matrix([words for _, words in lines])
    for number, words in lines:
        if len(words) != 2 and not (len(words) > 2 and (_DICTIONARY.match("".join(words[2:])) or _is_number(words[-1]))):
            raise FormatError(
                f"line {number} has {len(words)} words, an edge list has two node names a line, and perhaps a weight "
                "(the name of a table ends in .csv or .tsv, that of an adjacency list in .adjlist)"
            )
        pairs.append((words[0], words[1]))
    return _named(pairs)


def _table(path: Path) -> "nx.Graph[Any]":
    """Columns separated by tabs, semicolons or commas: of two node names, the first two where no header names them."""
    text = _text(path)
    first = next((line for line in text.splitlines() if line.strip() and not line.startswith("# ")), "")
    separator = next((mark for mark in "\t;" if mark in first), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    cells = ((reader.line_num, [cell.strip() for cell in row]) for row in reader)
    rows = [(number, row) for number, row in cells if any(row) and not row[0].startswith("# ")]
    heads = [cell.lower() for cell in rows[0][1]] if rows else []
    named = next(([heads.index(head) for head in pair] for pair in HEADERS if set(pair) <= set(heads)), None)
    columns = named or [0, 1]
    if not named:
        _refuse_matrix([row for _, row in rows])
    pairs = []
    for number, row in rows[1:] if named else rows:
        pair = [row[column] for column in columns if column < len(row) and row[column]]
        if len(pair) < 2:
            raise FormatError(f"line {number} has no two node names, which a table of edges has in two of its columns")
        pairs.append((pair[0], pair[1]))
    return _named(pairs)


def _contiguity(path: Path) -> "nx.Graph[Any]":
    """Areas and their neighbors, as GeoDa and libpysal write them.

    The first line holds the number of areas, alone or second of four words; then comes of every area a line with its name
    and the number of its neighbors, and one with their names, which may be empty.
    """
    lines = [words for _, words in _lines(path)]
    head = lines[0] if lines else []
    declared = head[0] if len(head) == 1 else head[1] if len(head) == 4 else ""
    words = [word for line in lines[1:] for word in line]
    neighbors: dict[str, list[str]] = {}
    at = 0
    while at < len(words):
        area, count = words[at], words[at + 1] if at + 1 < len(words) else ""
        others = words[at + 2 : at + 2 + int(count)] if count.isdecimal() else []
        if not count.isdecimal() or len(others) < int(count):
            raise FormatError(f"area {area} has no number of neighbors, or fewer of them than it says")
        neighbors[area] = others
        at += 2 + len(others)
    graph: nx.Graph[Any] = nx.Graph()
    graph.add_nodes_from(neighbors)
    graph.add_edges_from((area, other) for area, others in neighbors.items() for other in others)
    if not len(graph) == len(neighbors) == int(declared if declared.isdecimal() else -1):
        raise FormatError(f"it lists {len(neighbors)} areas and names {len(graph)}; its first line says: {' '.join(head)}")
    return _renamed(graph)


READERS: dict[str, Callable[[Path], "nx.Graph[Any] | Numbered"]] = {
    ".json": _json,
    ".graphml": _graphml,
    ".gexf": _gexf,
    ".gml": _gml,
    ".adjlist": _adjacency_list,
    ".gal": _contiguity,
    ".csv": _table,
    ".tsv": _table,
}
"""By the ending of a name; every other one is an edge list."""


def _without_entities(path: Path) -> Path:
    """Looks at an XML file before it is read. Errors: `FormatError` for entities, a few of which can mean gigabytes."""
    parser = expat.ParserCreate()
    parser.EntityDeclHandler = _refuse_entity
    with path.open("rb") as file:
        parser.ParseFile(file)
    return path


def _refuse_entity(name: str, *_: Any) -> None:
    raise FormatError(f"it declares the entity {name!r}, which no graph needs; remove the declaration")


def _text(path: Path) -> str:
    """Reads UTF-8 with or without a byte order mark, and UTF-16, which Windows writes, with one."""
    content = path.read_bytes()
    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"it is no UTF-8 text (byte {error.start + 1}); save it as UTF-8") from None


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    """Returns (number, words) of every line that has some; `#` starts a comment."""
    split = ((k, line.split("#")[0].split()) for k, line in enumerate(_text(path).splitlines(), start=1))
    return [(k, words) for k, words in split if words]


def _named(pairs: Iterable[tuple[str, str]]) -> "nx.Graph[Any]":
    return _renamed(nx.Graph(pairs))


def _renamed(graph: "nx.Graph[Any]") -> "nx.Graph[Any]":
    """Takes names for numbers if all of them are, as a number is written: 007 is a name."""
    words = list(map(str, graph))
    whole = all(word.isascii() and word.isdecimal() and str(int(word)) == word for word in words)
    return nx.relabel_nodes(graph, dict(zip(graph, map(int, words), strict=True))) if whole else graph


def _refuse_matrix(rows: list[list[str]]) -> None:
    """Does not take the rows of an adjacency matrix for edges."""
    if len(rows) > 2 and all(len(row) == len(rows) and {*row} <= {"0", "1"} for row in rows):
        raise FormatError(
            f"it looks like an adjacency matrix of {len(rows)} nodes; write it as edges, for one with "
            "networkx.write_edgelist(networkx.from_numpy_array(matrix), file)"
        )


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
