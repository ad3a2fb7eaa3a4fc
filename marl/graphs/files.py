"""Graph files as people have them are read here, each kind by the ending of its name. Text is UTF-8."""

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import networkx as nx

HEADERS = ("source", "target"), ("from", "to"), ("src", "dst"), ("node1", "node2"), ("i", "j"), ("u", "v")
"""First lines of a table of edges that name its columns, in any case."""


class FormatError(ValueError):
    """The file was read, but it is not what its name says; the message says where."""


class Numbered(NamedTuple):
    """This is a graph whose nodes are numbers 0 .. n - 1 already. Nothing about it has been checked."""

    n: Any
    edges: Any


def read(path: Path) -> "nx.Graph[Any] | Numbered":
    """Reads a graph file; see `marl.Network.from_file`. Errors: `FormatError`, and whatever a damaged file leads to."""
    return READERS.get(path.suffix.lower(), _edge_list)(path)


def _json(path: Path) -> "nx.Graph[Any] | Numbered":
    data = json.loads(_text(path))
    if isinstance(data, dict) and "nodes" in data:
        return nx.node_link_graph(data, edges="links" if "links" in data else "edges")
    if not isinstance(data, dict) or set(data) != {"n", "edges"}:
        raise FormatError('expected {"n": ..., "edges": [[i, j], ...]} or networkx node-link data')
    return Numbered(data["n"], data["edges"])


def _graphml(path: Path) -> "nx.Graph[Any]":
    return nx.read_graphml(path)


def _gexf(path: Path) -> "nx.Graph[Any]":
    return nx.read_gexf(path)


def _gml(path: Path) -> "nx.Graph[Any]":
    lines = _text(path).splitlines()
    return nx.parse_gml(lines, label="label" if any(line.split()[:1] == ["label"] for line in lines) else "id")


def _adjacency_list(path: Path) -> "nx.Graph[Any]":
    """A node and its neighbors a line."""
    rows = [words for _, words in _lines(path)]
    graph = _named((words[0], other) for words in rows for other in words[1:])
    graph.add_nodes_from(_numbers_or_names(words[0] for words in rows))
    return graph


def _edge_list(path: Path) -> "nx.Graph[Any]":
    """Two node names a line, and then perhaps a weight, or a dictionary as networkx writes it: both are left out."""
    pairs = []
    for number, words in _lines(path):
        if len(words) != 2 and not (len(words) > 2 and (words[2].startswith("{") or _is_number(words[-1]))):
            raise FormatError(
                f"line {number} has {len(words)} words, an edge list has two node names a line, and perhaps a weight"
            )
        pairs.append((words[0], words[1]))
    return _named(pairs)


def _table(path: Path) -> "nx.Graph[Any]":
    """Two columns of node names, and perhaps others, separated by commas, semicolons or tabs."""
    text = _text(path)
    separator = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    rows = [(reader.line_num, row) for row in reader if any(row)]
    if rows and tuple(word.strip().lower() for word in rows[0][1][:2]) in HEADERS:
        del rows[0]
    for number, row in rows:
        if len(row) < 2 or not row[0].strip() or not row[1].strip():
            raise FormatError(f"line {number} has no two node names; a table of edges has one in each of its first columns")
    return _named((row[0].strip(), row[1].strip()) for _, row in rows)


READERS: dict[str, Callable[[Path], "nx.Graph[Any] | Numbered"]] = {
    ".json": _json,
    ".graphml": _graphml,
    ".gexf": _gexf,
    ".gml": _gml,
    ".adjlist": _adjacency_list,
    ".csv": _table,
    ".tsv": _table,
}
"""By the ending of a name; every other one is an edge list."""


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
    pairs = list(pairs)
    names = iter(_numbers_or_names(word for pair in pairs for word in pair))
    return nx.Graph(list(zip(names, names, strict=True)))


def _numbers_or_names(words: Iterable[str]) -> list[Any]:
    """Takes names for numbers if all of them are, as a number is written: 007 is a name."""
    words = list(words)
    whole = all(word.isascii() and word.isdecimal() and str(int(word)) == word for word in words)
    return [int(word) for word in words] if whole else words


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
