"""Graphs known by name are read from the packages that ship them; none of their data is here.

A package other than networkx is needed for its own graphs alone. Of topohub and libpysal files are read and no code is
run; a case of pypower is a function that is called.
"""

import csv
import difflib
import importlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import networkx as nx

from marl.graphs import files

INSTALL = "pip install 'networked-marl[graphs]'"
OUT_OF_SERVICE = 10
"""The column of a case's branches that is 0 where a branch is switched off; 0 and 1 hold its ends."""


class NoGraphError(ValueError):
    """There is no graph of that name, or not the package that has it; the message says what to do."""


class Source(NamedTuple):
    """This is a package with graphs: what kind they are, what it calls each of them, and what reads one."""

    kind: str
    graphs: dict[str, str]
    read: Callable[[str], "nx.Graph[Any]"]


def read(name: str) -> "nx.Graph[Any]":
    """Reads the graph of that name: simple, undirected, its nodes called as the source calls them.

    Parallel edges (two lines between the same two places) are one. A self-loop would stay, and `marl.Network` refuses
    it as in any other graph; none of these has one.

    Errors: `NoGraphError`.
    """
    if name not in NAMES:
        known = "; ".join(f"{source}: {', '.join(SOURCES[source].graphs)}" for source in SOURCES)
        raise NoGraphError(f"there is no graph {name!r}{suggestion(name, NAMES)}; there are, by package, {known}")
    source = SOURCES[NAMES[name]]
    try:
        graph = source.read(source.graphs[name])
    except (ImportError, FileNotFoundError):
        raise NoGraphError(f"the graph {name!r} comes with the package {missing(NAMES[name])}") from None
    return nx.Graph(graph)


def missing(package: str) -> str:
    """Says of a package that cannot be used what is wrong with it and which command helps."""
    if importlib.util.find_spec(package) is None:
        return f"{package}, which is not installed: {INSTALL}"
    return f"{package}, which is installed in a version without it: {INSTALL.replace('install', 'install -U')}"


def suggestion(name: str, known: Iterable[str], written: Mapping[str, str] | None = None) -> str:
    """Returns a clause with the known names that are like this one, or nothing. written: how some of them are shown."""
    names = list(known)
    close = [name.lower()] if name.lower() in names else difflib.get_close_matches(name.lower(), names, cutoff=0.65)
    return f" (did you mean {' or '.join((written or {}).get(like, like) for like in close)}?)" if close else ""


def _networkx(function: str) -> "nx.Graph[Any]":
    return getattr(nx, function)()


def _topohub(name: str) -> "nx.Graph[Any]":
    """Nodes have numbers, names and positions: longitude and latitude, or where SNDlib has none, those of a drawing."""
    graph = files.read(_file("topohub", "data", "sndlib", f"{name}.json"))
    assert isinstance(graph, nx.Graph)
    return nx.relabel_nodes(graph, nx.get_node_attributes(graph, "name"))


def _pypower(case: str) -> "nx.Graph[Any]":
    """Buses and the branches between them, lines and transformers alike, without those that are switched off."""
    data = getattr(importlib.import_module(f"pypower.{case}"), case)()
    graph: nx.Graph[Any] = nx.Graph()
    graph.add_nodes_from(int(bus[0]) for bus in data["bus"])
    graph.add_edges_from((int(row[0]), int(row[1])) for row in data["branch"] if row[OUT_OF_SERVICE])
    return graph


def _libpysal(path: str) -> "nx.Graph[Any]":
    """Areas that touch, also at a corner. The 48 states are numbered as the table beside them names them."""
    graph = files.read(_file("libpysal", "examples", *path.split("/")))
    assert isinstance(graph, nx.Graph)
    if path != STATES:
        return graph
    with _file("libpysal", "examples", "us_income", "usjoin.csv").open(encoding="utf-8", newline="") as table:
        return nx.relabel_nodes(graph, dict(enumerate(row["Name"] for row in csv.DictReader(table))))


def _file(package: str, *path: str) -> Path:
    """Finds a file of an installed package, which is not imported. Errors: FileNotFoundError."""
    spec = importlib.util.find_spec(package)
    places = spec.submodule_search_locations if spec else None
    found = [file for place in places or () if (file := Path(place, *path)).is_file()]
    if not found:
        raise FileNotFoundError(f"{package} has no {'/'.join(path)}")
    return found[0]


STATES = "us_income/states48.gal"
SNDLIB = (
    "abilene atlanta brain cost266 dfn-bwin dfn-gwin di-yuan france geant germany50 giul39 india35 janos-us janos-us-ca "
    "newyork nobel-eu nobel-germany nobel-us norway pdh pioro40 polska sun ta1 ta2 zib54"
)
CASES = "case4gs case6ww case9 case14 case24_ieee_rts case30 case39 case57 case118 case300"

SOURCES = {
    "networkx": Source(
        "social networks",
        {
            "karate": "karate_club_graph",
            "florentine": "florentine_families_graph",
            "les_miserables": "les_miserables_graph",
            "davis": "davis_southern_women_graph",
        },
        _networkx,
    ),
    "topohub": Source("backbones of SNDlib", {name: name for name in SNDLIB.split()}, _topohub),
    "pypower": Source("power grids", {name: name for name in CASES.split()}, _pypower),
    "libpysal": Source("areas that touch", {"us_states": STATES, "nc_counties": "sids2/sids2.gal"}, _libpysal),
}
"""By the package that has them, which is the name of its distribution too."""

NAMES = {name: source for source in SOURCES for name in SOURCES[source].graphs}
"""Name of a graph -> the package that has it."""
