"""These are edge lists of the standard graphs, int64 arrays [E, 2]. Nodes of grids are numbered row-major.

Sizes have been checked by `marl.core.network`.
"""

import numpy as np

WRITTEN = {
    "line": "line:N",
    "ring": "ring:N",
    "grid": "grid:ROWSxCOLS",
    "king": "king:ROWSxCOLS",
    "geometric": "geometric:N:RADIUS[:SEED]",
}
"""How a setting asks for each of them."""


def line(n: int) -> np.ndarray:
    """Makes the line 0 - 1 - ... - n-1."""
    nodes = np.arange(n)
    return np.stack([nodes[:-1], nodes[1:]], axis=1)


def ring(n: int) -> np.ndarray:
    """Makes a line whose ends are joined; at least three nodes."""
    nodes = np.arange(n)
    return np.stack([nodes, np.roll(nodes, -1)], axis=1)


def grid(rows: int, cols: int) -> np.ndarray:
    """Joins neighbors in four directions: up, down, left, right."""
    node = _numbered(rows, cols)
    return np.concatenate([_pairs(node[:, :-1], node[:, 1:]), _pairs(node[:-1], node[1:])])


def king(rows: int, cols: int) -> np.ndarray:
    """Joins neighbors in eight directions: the moves of a king in chess."""
    node = _numbered(rows, cols)
    diagonals = [_pairs(node[:-1, :-1], node[1:, 1:]), _pairs(node[:-1, 1:], node[1:, :-1])]
    return np.concatenate([grid(rows, cols), *diagonals])


def random_geometric(n: int, radius: float, seed: int) -> np.ndarray:
    """Draws n uniform points of the unit square and joins those closer than `radius`.

    Points are sorted into cells of side `radius`, so the work grows with the number of edges, not with n^2.
    """
    points = np.random.default_rng(seed).random((n, 2))
    side = max(1, int(min(1.0 / radius, np.sqrt(n) + 1)))
    cell_xy = np.minimum((points * side).astype(np.int64), side - 1)
    cell = cell_xy[:, 0] * side + cell_xy[:, 1]
    order = np.argsort(cell, kind="stable")
    start = np.searchsorted(cell[order], np.arange(side * side + 1))
    found = []
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            x, y = cell_xy[:, 0] + dx, cell_xy[:, 1] + dy
            inside = np.flatnonzero((x >= 0) & (x < side) & (y >= 0) & (y < side))
            other = (x * side + y)[inside]
            count = start[other + 1] - start[other]
            left = np.repeat(inside, count)
            offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            right = order[np.repeat(start[other], count) + offset]
            near = (left < right) & (np.linalg.norm(points[left] - points[right], axis=1) < radius)
            found.append(np.stack([left[near], right[near]], axis=1))
    return np.concatenate(found)


def _numbered(rows: int, cols: int) -> np.ndarray:
    return np.arange(rows * cols).reshape(rows, cols)


def _pairs(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    return np.stack([left.ravel(), right.ravel()], axis=1)
