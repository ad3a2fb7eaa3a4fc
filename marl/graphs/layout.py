"""Nodes of a graph are placed in the plane, for pictures; nothing here is n x n at once."""

import math
from typing import Any

import networkx as nx
import numpy as np

from marl.graphs import topologies

STRAIGHT = 16
"""Longest line that is drawn straight; a longer one is folded."""
PIVOTS = 24
"""Nodes whose distances to all others give the first places."""
MOST, PAIRS = 200, 2.5e7
"""Most rounds of the springs, and most pairs of nodes that all rounds look at."""
BLOCK = 2**18
"""Pairs that are looked at together."""


def positions(graph: "nx.Graph[int]") -> np.ndarray:
    """Places the nodes 0 to n - 1; float64 [n, 2], y upwards. The same graph always has the same picture.

    Grids of four or eight neighbors and lines are drawn as such, a ring as a circle. Other graphs are laid out by their
    distances to a few pivots (Brandes and Pich 2006), then by springs (Fruchterman and Reingold 1991): the larger the
    graph, the fewer rounds, none beyond 5,000 nodes.
    """
    n = len(graph)
    edges = _sorted(np.array(list(graph.edges), dtype=np.int64).reshape(-1, 2), n)
    if (grid := _grid(n, edges)) is not None:
        return grid
    if n >= 3 and np.array_equal(edges, _sorted(topologies.ring(n), n)):
        angle = 2.0 * math.pi * np.arange(n) / n
        return np.stack([np.sin(angle), np.cos(angle)], axis=1)
    return _springs(_by_distances(graph), edges, gravity=0.0 if nx.is_connected(graph) else 0.5)


def _sorted(edges: np.ndarray, n: int) -> np.ndarray:
    return np.stack(np.divmod(np.sort(edges.min(axis=1) * n + edges.max(axis=1)), n), axis=1)


def _grid(n: int, edges: np.ndarray) -> np.ndarray | None:
    """Returns the places in the grid or line that these edges make, None if they make none."""
    for rows in (rows for rows in range(1, n + 1) if n % rows == 0):
        cols = n // rows
        straight, diagonal = 2 * n - rows - cols, 2 * (rows - 1) * (cols - 1)
        for make, count in (topologies.grid, straight), (topologies.king, straight + diagonal):
            if len(edges) == count and np.array_equal(edges, _sorted(make(rows, cols), n)):
                width = math.ceil(math.sqrt(n)) if rows == 1 and n > STRAIGHT else cols
                row, column = np.divmod(np.arange(n), width)
                back = (row % 2 == 1) & (rows == 1)  # a long line goes to and fro
                return np.stack([np.where(back, width - 1 - column, column), -row], axis=1).astype(np.float64)
    return None


def _by_distances(graph: Any) -> np.ndarray:
    """Returns the first two principal components of the squared distances to the pivots, each far from those before."""
    n = len(graph)
    nearest, pivot, columns = np.full(n, np.inf), 0, []
    for _ in range(min(PIVOTS, n)):
        found = nx.single_source_shortest_path_length(graph, pivot)
        column = np.full(n, max(found.values()) + 2.0)  # so far are other components
        column[list(found)] = list(found.values())
        columns.append(column)
        nearest = np.minimum(nearest, column)
        pivot = int(nearest.argmax())
    squared = np.stack(columns, axis=1) ** 2
    centered = squared - squared.mean(axis=0) - squared.mean(axis=1, keepdims=True) + squared.mean()
    left, sizes, right = np.linalg.svd(centered, full_matrices=False)
    sign = np.where(right[:, 0] < 0, -1.0, 1.0)  # which the decomposition leaves open
    places = np.zeros((n, 2))
    places[:, : len(sizes[:2])] = (left * sign * sizes)[:, :2]
    return places / max(np.abs(places).max(), 1e-9)


def _springs(places: np.ndarray, edges: np.ndarray, gravity: float) -> np.ndarray:
    """Lets neighbors attract and all nodes repel one another, in rounds of smaller and smaller moves.

    gravity: how much all are drawn to the middle, else components would drift apart.
    """
    n, draw = len(places), np.random.default_rng(0)
    length = 1.0 / math.sqrt(n)
    x = (0.5 * places + draw.normal(scale=0.25 * length, size=(n, 2))).astype(np.float32)
    rounds, block = min(MOST, int(PAIRS / n**2)), max(1, BLOCK // n)
    for longest in 0.05 * (1.0 - np.arange(rounds) / max(rounds, 1)):
        move = np.empty_like(x)
        for first in range(0, n, block):
            apart = x[first : first + block, None] - x
            squared = np.maximum((apart * apart).sum(axis=2), 1e-6)
            move[first : first + block] = np.einsum("ijk,ij->ik", apart, length**2 / squared)
        move -= gravity * x
        along = x[edges[:, 0]] - x[edges[:, 1]]
        pull = along * (np.hypot(along[:, :1], along[:, 1:]) / length)
        np.add.at(move, edges[:, 0], -pull)
        np.add.at(move, edges[:, 1], pull)
        far = np.maximum(np.hypot(move[:, :1], move[:, 1:]), 1e-9)
        x += move / far * np.minimum(far, longest)
    return x.astype(np.float64)
