"""A network is the interaction graph G = (N, E) with its kappa-hop neighborhoods N_i^kappa."""

import math
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import networkx as nx
import numpy as np
import torch
from jaxtyping import Bool, Int64
from torch import Tensor

from marl.core.checks import integer, number
from marl.core.errors import ConfigError, NetworkError
from marl.graphs import files, named, positions, topologies

MAX_PADDED = 2**28
"""Largest n * width that `neighborhood` will lay out (2 GiB of indices)."""
MAX_DRAWN = 2**26
"""Most pairs of nodes that a radius may join, about (1 GiB)."""
MANY = 10**6
"""So many stray nodes in a file are not laid out to be counted."""


class Neighborhood(NamedTuple):
    """This is N_i^kappa of every agent, padded to one width m.

    Shapes: index [n, m], mask [n, m], size [n]. Row i lists the nodes within graph distance kappa of i, itself
    included, in increasing order; padding repeats i and has mask False.
    """

    index: Int64[Tensor, "n m"]  # type: ignore[assignment]  # hides tuple.index
    mask: Bool[Tensor, "n m"]
    size: Int64[Tensor, "n"]


class Adjacency(NamedTuple):
    """These are the neighbors of every node in compressed rows: of node i, node[start[i] : start[i + 1]], increasing.

    Shapes: start [n + 1], node [2 E].
    """

    start: np.ndarray
    node: np.ndarray

    @property
    def degree(self) -> np.ndarray:
        """Returns the number of neighbors of every node. Shapes: [n]."""
        return np.diff(self.start)


class Network:
    """A network is an undirected graph without self-loops on nodes 0..n-1, in compressed rows: nothing is n x n.

    Attributes: `n`, `edges` (int64 [E, 2], each edge once, smaller node first, sorted), `adjacency` (the same by nodes),
    `labels` (the names that the nodes had in the file or networkx graph they came from, or None), `positions` (float64
    [n, 2]: where the nodes are, in the units of their source, or None; nothing is computed from them).
    """

    def __init__(self, n: int, edges: Any, labels: list[Hashable] | None = None, positions: Any = None):
        self.n = integer("the number of nodes", n, 1)
        self.labels = labels
        self.positions = None if positions is None else _as_positions(self.n, positions)
        self.edges = _clean(self.n, _as_pairs(edges), labels)
        both = np.sort(np.concatenate([self.edges @ (self.n, 1), self.edges @ (1, self.n)]))  # codes i*n + j, i first
        row, column = np.divmod(both, self.n)
        self.adjacency = Adjacency(np.searchsorted(row, np.arange(self.n + 1)), column)
        self._neighborhoods: dict[int, Neighborhood] = {}

    @classmethod
    def from_edges(cls, n: int, edges: Any) -> "Network":
        """Takes pairs (i, j) of nodes in 0..n-1, in any order; repeats are merged. Isolated nodes are fine."""
        return cls(n, edges)

    @classmethod
    def from_networkx(cls, graph: "nx.Graph[Any]") -> "Network":
        """Numbers the nodes in increasing order when they are integers, else in the graph's own order.

        `positions` are those of the nodes, if all have one: pos = [x, y], x and y, or lon and lat.
        """
        if graph.is_directed():
            raise NetworkError("the graph is directed, but influence is mutual here: give graph.to_undirected()")
        labels = list(graph.nodes)
        if all(isinstance(node, (int, np.integer)) for node in labels):
            labels.sort()
        number = {node: k for k, node in enumerate(labels)}
        return cls(len(labels), [(number[i], number[j]) for i, j in graph.edges()], labels, positions.of(graph, labels))

    @classmethod
    def named(cls, name: str) -> "Network":
        """Gives a well-known graph: "karate", "germany50", "case118", "us_states"; `marl graphs` lists them all.

        networkx has the social networks; backbones, power grids and areas that touch come with topohub, pypower and
        libpysal (`pip install 'networked-marl[graphs]'`). `labels` are the source's names; parallel edges are merged.

        Errors: `NetworkError` if there is no such graph or the package that has it is missing.
        """
        if not isinstance(name, str):
            raise ConfigError(f"the name of a graph is a text, got {name!r}")
        try:
            return cls.from_networkx(named.read(name))
        except named.NoGraphError as error:
            raise NetworkError(str(error)) from None

    @classmethod
    def from_file(cls, path: str | Path, *, connected: bool = True) -> "Network":
        """Reads a graph by the ending of its name.

        `.json`: {"n": 3, "edges": [[0, 1], [1, 2]]} or networkx node-link data; `.graphml`, `.gexf`, `.gml`; `.csv`,
        `.tsv`: node names in the columns source and target, or in the first two where no header names them; `.adjlist`:
        a node and its neighbors a line; `.gal`: areas that touch, as libpysal writes them; anything else: an edge list,
        two node names a line, `#` starts a comment. Positions of nodes become `positions`; weights and other data are
        left out. Text is UTF-8. Nodes whose names are all numbers stand in their order, others in that of the file;
        007 is a name.

        Errors: `NetworkError` if the file is missing or malformed, has a self-loop, or is not connected
        (a stray node in a file is nearly always a slip; `connected=False` accepts it).
        """
        try:
            found = files.read(Path(path))
            if isinstance(found, nx.Graph):
                network = cls.from_networkx(found)
            else:
                if connected and isinstance(found.n, int) and found.n > MANY + len(found.edges):
                    raise NetworkError(f"it has {found.n} nodes and {len(found.edges)} edges, so it is not connected")
                network = cls.from_edges(*found)
        except (NetworkError, files.FormatError) as error:
            raise NetworkError(f"graph file {path}: {error}") from None
        except Exception as error:
            raise NetworkError(f"graph file {path} cannot be read: {_first_line(error)}") from None
        if connected and (parts := network.num_components()) > 1:
            raise NetworkError(f"graph file {path} is not connected: it falls into {parts} parts")
        return network

    @classmethod
    def line(cls, n: int) -> "Network":
        """Makes the line 0 - 1 - ... - n-1."""
        n = integer("n", n, 1)
        return cls(n, topologies.line(n))

    @classmethod
    def ring(cls, n: int) -> "Network":
        """Makes a line whose ends are joined; at least three nodes."""
        n = integer("n", n, 3)
        return cls(n, topologies.ring(n))

    @classmethod
    def grid(cls, rows: int, cols: int) -> "Network":
        """Makes a grid of rows x cols nodes, row-major, four neighbors each."""
        rows, cols = integer("rows", rows, 1), integer("cols", cols, 1)
        return cls(rows * cols, topologies.grid(rows, cols))

    @classmethod
    def king(cls, rows: int, cols: int) -> "Network":
        """Makes a grid of rows x cols nodes, row-major, eight neighbors each."""
        rows, cols = integer("rows", rows, 1), integer("cols", cols, 1)
        return cls(rows * cols, topologies.king(rows, cols))

    @classmethod
    def random_geometric(cls, n: int, radius: float, seed: int = 0) -> "Network":
        """Draws n uniform points of the unit square and joins those closer than `radius`."""
        n, radius = integer("n", n, 1), number("radius", radius, 0.0)
        if radius == 0.0:
            raise NetworkError("radius must be positive, got 0")
        if (pairs := n * (n - 1) / 2 * min(1.0, math.pi * min(1.0, radius) ** 2)) > MAX_DRAWN:
            raise NetworkError(
                f"radius {radius:g} joins about {pairs:.1e} pairs of {n} nodes, at most {MAX_DRAWN} can be held; "
                "choose a smaller radius or fewer nodes"
            )
        return cls(n, topologies.random_geometric(n, radius, integer("seed", seed, 0)))

    def neighborhood(self, kappa: int) -> Neighborhood:
        """Finds N_i^kappa = {j: dist(i, j) <= kappa} by breadth-first search from all nodes at once over sparse pairs.

        Errors: `ConfigError` if kappa < 0; `NetworkError` if the padded layout would exceed 2^28 entries.
        """
        kappa = integer("kappa", kappa, 0)
        if kappa not in self._neighborhoods:
            self._neighborhoods[kappa] = self._pad(self._ball(kappa))
        return self._neighborhoods[kappa]

    def distances(self, i: int) -> Int64[Tensor, "n"]:
        """Returns the graph distance of every node from node i; -1 where there is no path.

        Errors: `ConfigError` if there is no such node.
        """
        i = integer("a node", i, 0)
        if i >= self.n:
            raise ConfigError(f"there is no node {i}; nodes are numbered 0 to {self.n - 1}")
        distance = np.full(self.n, -1, dtype=np.int64)
        frontier, hops = np.array([i]), 0
        while frontier.size:
            distance[frontier] = hops
            hops += 1
            start, neighbors = self.adjacency
            near = [neighbors[start[node] : start[node + 1]] for node in frontier]
            reached = np.unique(np.concatenate(near))
            frontier = reached[distance[reached] < 0]
        return torch.from_numpy(distance)

    def num_components(self) -> int:
        """Counts connected parts: the larger label of an edge takes the smaller one, until no edge joins two labels."""
        label = np.arange(self.n)
        while True:
            ends = label[self.edges]
            apart = ends[ends[:, 0] != ends[:, 1]]
            if apart.size == 0:
                return int((label == np.arange(self.n)).sum())
            np.minimum.at(label, apart.max(axis=1), apart.min(axis=1))
            while not np.array_equal(label, label[label]):
                label = label[label]

    def to_networkx(self) -> "nx.Graph[int]":
        """Returns the same graph on nodes 0..n-1, for networkx's algorithms and layouts."""
        graph = nx.empty_graph(self.n)
        graph.add_edges_from(self.edges.tolist())
        return graph

    def _ball(self, kappa: int) -> np.ndarray:
        """Returns sorted codes i*n + j of all pairs within distance kappa."""
        ball = np.arange(self.n, dtype=np.int64) * (self.n + 1)
        frontier, (start, neighbors) = ball, self.adjacency
        for _ in range(kappa):
            center, node = np.divmod(frontier, self.n)
            degree = start[node + 1] - start[node]
            total = int(degree.sum())
            if total > MAX_PADDED:
                raise NetworkError(f"kappa={kappa} reaches {total:.1e} pairs of agents; choose a smaller kappa")
            first = np.repeat(start[node] - (np.cumsum(degree) - degree), degree)
            reached = np.repeat(center, degree) * self.n + neighbors[np.arange(total) + first]
            grown = _sorted_unique(np.concatenate([ball, reached]))
            if grown.size == ball.size:
                break
            old = np.searchsorted(ball, grown).clip(max=ball.size - 1)
            frontier, ball = grown[ball[old] != grown], grown
        return ball

    def _pad(self, ball: np.ndarray) -> Neighborhood:
        center, node = np.divmod(ball, self.n)
        size = np.bincount(center, minlength=self.n)
        width = int(size.max())
        if self.n * width > MAX_PADDED:
            raise NetworkError(
                f"a neighborhood of {width} agents among {self.n} needs {self.n * width:.1e} padded entries; "
                "choose a smaller kappa or a graph without such hubs"
            )
        mask = np.arange(width) < size[:, None]
        index = np.repeat(np.arange(self.n, dtype=np.int64)[:, None], width, axis=1)
        index[mask] = node
        return Neighborhood(torch.from_numpy(index), torch.from_numpy(mask), torch.from_numpy(size))


def _as_pairs(edges: Any) -> np.ndarray:
    if isinstance(edges, Tensor):
        edges = edges.numpy()
    edges = list(edges) if isinstance(edges, Iterable) and not isinstance(edges, np.ndarray) else edges
    try:
        pairs = np.asarray(edges)
    except ValueError:
        raise NetworkError("every edge needs two nodes") from None
    if pairs.size == 0:
        return np.empty((0, 2), dtype=np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise NetworkError("edges must be pairs of node numbers")
    return pairs.astype(np.int64)


def _as_positions(n: int, positions: Any) -> np.ndarray:
    try:
        found = np.array(positions, dtype=np.float64)
    except (TypeError, ValueError):
        found = np.empty(0)
    if found.shape != (n, 2) or not np.isfinite(found).all():
        raise NetworkError(f"positions must be a pair of finite numbers for each of the {n} nodes")
    return found


def _clean(n: int, edges: np.ndarray, labels: list[Hashable] | None) -> np.ndarray:
    bad = (edges < 0) | (edges >= n)
    if bad.any():
        raise NetworkError(f"an edge names node {edges[bad][0]}, but nodes are numbered 0 to {n - 1}")
    loops = edges[:, 0] == edges[:, 1]
    if loops.any():
        node = int(edges[loops][0, 0])
        raise NetworkError(f"node {labels[node] if labels else node} has an edge to itself; remove self-loops")
    codes = _sorted_unique(edges.min(axis=1) * n + edges.max(axis=1))
    return np.stack(np.divmod(codes, n), axis=1)


def _sorted_unique(codes: np.ndarray) -> np.ndarray:
    """Returns np.unique(codes) by sorting: its hashing is ten times slower on millions of codes."""
    codes = np.sort(codes)
    return codes[np.diff(codes, prepend=-1) > 0]


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
