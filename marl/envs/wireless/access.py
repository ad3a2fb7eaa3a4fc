"""Users reach access points by one of the two grid placements of the paper, or by lists of one's own."""

import itertools
from typing import Any

import numpy as np

from marl.core.errors import ConfigError
from marl.envs.incidence import MAX_THINGS, Incidence, Words, listed, refuse_idle, sharing_edges

WORDS = Words("env.incidence", "user", "access point", "an access point")

Access = Incidence
"""access[i]: the access points Y_i of user i, increasing."""


def grid_access(rows: int, cols: int, inside: bool, users_per_cell: int) -> Access:
    """Puts users into the cells of a rows x cols grid, and access points on cell corners.

    inside: the (rows-1)(cols-1) corners inside the grid; else all (rows+1)(cols+1).
    Points are numbered row-major; users row-major by cell, users of one cell adjacent.
    """
    if rows * cols * users_per_cell > MAX_THINGS:
        raise ConfigError(f"env.rows={rows} x env.cols={cols} x env.users_per_cell={users_per_cell} users are too many")
    height, width = (rows - 1, cols - 1) if inside else (rows + 1, cols + 1)
    row, col = np.divmod(np.arange(rows * cols).repeat(users_per_cell)[:, None], cols)
    y, x = row + np.array([0, 0, 1, 1]) - inside, col + np.array([0, 1, 0, 1]) - inside
    there = (y >= 0) & (y < height) & (x >= 0) & (x < width)
    points, ends = (y * width + x)[there].tolist(), there.sum(axis=1).cumsum().tolist()
    access = [points[start:end] for start, end in itertools.pairwise([0, *ends])]
    refuse_idle(access, WORDS, "; access_points=corners gives every cell four" if inside else "")
    return access


def grid_positions(rows: int, cols: int, users_per_cell: int) -> np.ndarray:
    """Says where users stand in a picture of the grid, [n, 2]: cells from the top, users of one cell side by side."""
    cell, place = np.divmod(np.arange(rows * cols * users_per_cell), users_per_cell)
    spread = (place + 0.5) / users_per_cell - 0.5
    return np.stack([cell % cols + 0.6 * spread, -(cell // cols) + 0.3 * spread], axis=1)


def listed_access(source: Any) -> Access:
    """Reads a list with one list of access-point numbers per user, or the JSON file of one whose path is given."""
    return listed(source, WORDS)


def conflict_edges(access: Access) -> np.ndarray:
    """Lists the edges [E, 2] of the conflict graph: users are neighbors iff they share an access point."""
    return sharing_edges(access, WORDS)
