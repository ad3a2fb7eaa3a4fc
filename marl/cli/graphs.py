"""`marl graphs` lists the graphs that have names, or shows one graph."""

import textwrap
from collections import Counter

from marl.cli import words
from marl.graphs import named
from marl.graphs.measures import Measures, measures
from marl.graphs.topologies import WRITTEN

HEADINGS = ("name", "source", "n", "edges", "mean degree", "largest degree", "diameter")
WIDTH = 118
DEGREES = 20
"""A graph with more different degrees has them counted by powers of two."""
SHOWN = 8
"""So many sizes of components, or names of nodes, are shown."""


def main(arguments: list[str]) -> int:
    """Prints the table, or what there is to say of the graph that is asked for."""
    places, _ = words.read("graphs", arguments, {})
    if len(places) > 1:
        raise words.other_words("graphs", places)
    print(_one(places[0]) if places else _all())
    return 0


def _all() -> str:
    """Measures every graph whose package is there. Nothing of it needs torch."""
    rows, missing = [], []
    for package, source in named.SOURCES.items():
        absent = []
        for name in source.graphs:
            try:
                rows.append([name, package, *_figures(measures(named.read(name)))])
            except named.NoGraphError:
                absent.append(name)
        if absent:
            missing += ["", f"The {source.kind} come with {named.missing(package)}"]
            missing += textwrap.wrap(", ".join(absent), WIDTH, initial_indent="  ", subsequent_indent="  ")
    return "\n".join(
        [
            *_table(HEADINGS, rows, left=2),
            *missing,
            "",
            f"env.graph takes these names, {', '.join(WRITTEN.values())},",
            "or the path of a graph file: ./NAME if it is called like one of these. marl graphs NAME|FILE shows one graph.",
        ]
    )


def _one(spec: str) -> str:
    from marl.envs.graph import graph  # needs torch

    network = graph(spec, connected=False)
    found = measures(network.to_networkx())
    sizes = _few(list(map(str, found.components)))
    lines = {
        "nodes": str(found.n),
        "edges": str(found.edges),
        "components": "1" if len(found.components) == 1 else f"{len(found.components)}, of {sizes} nodes",
        "mean degree": f"{found.mean_degree:.2f}",
        "diameter": _diameter(found) + (" (of the largest component)" if len(found.components) > 1 else ""),
        "labels": "none" if network.labels is None else _few(list(map(str, network.labels))),
        "positions": "none" if network.positions is None else "yes",
    }
    source = f", from {named.NAMES[spec]}" if spec in named.NAMES else ""
    head = [f"{spec}{source}", "", *(f"{key:<12}{value}" for key, value in lines.items()), ""]
    return "\n".join([*head, *_table(("degree", "nodes"), _degrees(found))])


def _figures(found: Measures) -> list[str]:
    return [str(found.n), str(found.edges), f"{found.mean_degree:.2f}", str(max(found.degrees)), _diameter(found)]


def _diameter(found: Measures) -> str:
    return str(found.diameter) if found.exact else f"at least {found.diameter}"


def _degrees(found: Measures) -> list[list[str]]:
    if len(found.degrees) <= DEGREES:
        return [[str(degree), str(count)] for degree, count in found.degrees.items()]
    bins: Counter[int] = Counter()
    for degree, count in found.degrees.items():
        bins[degree.bit_length()] += count
    return [[f"{1 << bits >> 1}-{(1 << bits) - 1}" if bits else "0", str(count)] for bits, count in sorted(bins.items())]


def _few(texts: list[str]) -> str:
    return ", ".join(texts[:SHOWN]) + (", ..." if len(texts) > SHOWN else "")


def _table(headings: tuple[str, ...], rows: list[list[str]], left: int = 0) -> list[str]:
    """Lays out lines, the first `left` columns flush left, numbers flush right."""
    lines = [list(headings), *rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(headings))]
    sides = ["<" if k < left else ">" for k in range(len(headings))]
    return ["   ".join(f"{x:{s}{w}}" for x, s, w in zip(line, sides, widths, strict=True)) for line in lines]
