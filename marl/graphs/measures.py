"""The figures of a graph that tell how hard it is: sizes, degrees, components, diameter."""

import functools
import operator
from typing import Any, NamedTuple

import networkx as nx

LARGE = 2000
"""Of a component with more nodes the diameter is bounded from below, by two searches: exactly it takes one from each."""


class Measures(NamedTuple):
    """These are sizes, degree -> how many nodes have it, component sizes, and the diameter of the largest component.

    Of several largest components the first one counts. Where `exact` is False the diameter is at least `diameter`.
    """

    n: int
    edges: int
    degrees: dict[int, int]
    components: list[int]
    diameter: int
    exact: bool

    @property
    def mean_degree(self) -> float:
        """The average number of neighbors, 2 E / n."""
        return 2 * self.edges / self.n


def measures(graph: "nx.Graph[Any]") -> Measures:
    """Measures a simple graph of at least one node."""
    parts = sorted(nx.connected_components(graph), key=len, reverse=True)
    largest = graph if len(parts) == 1 else graph.subgraph(parts[0]).copy()
    exact = len(largest) <= LARGE
    diameter = _diameter(largest) if exact else nx.approximation.diameter(largest, seed=0)
    counts = nx.degree_histogram(graph)
    degrees = {degree: count for degree, count in enumerate(counts) if count}
    return Measures(len(graph), graph.number_of_edges(), degrees, [len(part) for part in parts], diameter, exact)


def _diameter(graph: "nx.Graph[Any]") -> int:
    """Counts how often every node must take over what its neighbors know until all know all: a bit for every node."""
    known = {node: 1 << k for k, node in enumerate(graph)}
    everything, rounds = (1 << len(graph)) - 1, 0
    while any(one != everything for one in known.values()):
        before, rounds = known, rounds + 1
        known = {node: functools.reduce(operator.or_, map(before.__getitem__, graph[node]), before[node]) for node in graph}
    return rounds
