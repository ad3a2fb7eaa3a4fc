"""Users reach access points by one of the two grid placements of the paper, or by lists of one's own."""

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from marl.core.checks import integer
from marl.core.errors import ConfigError
from marl.core.files import located

MAX_POINTS = 2**26
MAX_PAIRS = 2**26
"""Largest number of pairs of users that share a point, a pair counted at every point (1 GiB)."""

Access = list[list[int]]
"""access[i]: the access points Y_i of user i, increasing."""


def grid_access(rows: int, cols: int, inside: bool, users_per_cell: int) -> Access:
    """Puts users into the cells of a rows x cols grid, and access points on cell corners.

    inside: the (rows-1)(cols-1) corners inside the grid; else all (rows+1)(cols+1).
    Points are numbered row-major; users row-major by cell, users of one cell adjacent.
    """
    if rows * cols * users_per_cell > MAX_POINTS:
        raise ConfigError(f"env.rows={rows} x env.cols={cols} x env.users_per_cell={users_per_cell} users are too many")
    height, width = (rows - 1, cols - 1) if inside else (rows + 1, cols + 1)
    shift = 1 if inside else 0
    cells = []
    for row in range(rows):
        for col in range(cols):
            corners = [(row + down - shift, col + right - shift) for down in (0, 1) for right in (0, 1)]
            cells.append([y * width + x for y, x in corners if 0 <= y < height and 0 <= x < width])
    access = [points for points in cells for _ in range(users_per_cell)]
    _refuse_pointless(access, "; access_points=corners gives every cell four" if inside else "")
    return access


def grid_positions(rows: int, cols: int, users_per_cell: int) -> np.ndarray:
    """Says where users stand in a picture of the grid, [n, 2]: cells from the top, users of one cell side by side."""
    cell, place = np.divmod(np.arange(rows * cols * users_per_cell), users_per_cell)
    spread = (place + 0.5) / users_per_cell - 0.5
    return np.stack([cell % cols + 0.6 * spread, -(cell // cols) + 0.3 * spread], axis=1)


def listed_access(source: Any) -> Access:
    """Reads a list with one list of access-point numbers per user, or the JSON file of one whose path is given."""
    if isinstance(source, (str, Path)):
        try:
            source = json.loads(located(source).read_text(encoding="utf-8-sig"))
        except (OSError, ValueError) as error:
            raise ConfigError(f"env.incidence file {source!r} cannot be read as JSON: {error}") from None
    if not isinstance(source, Iterable) or isinstance(source, dict):
        raise ConfigError(f"env.incidence must be a list with one list of access points per user, got {source!r}")
    access = []
    for user, points in enumerate(source):
        if not isinstance(points, Iterable) or isinstance(points, (str, dict)):
            raise ConfigError(f"env.incidence[{user}] must be a list of access points, got {points!r}")
        numbers = [integer(f"env.incidence[{user}]", point, 0) for point in points]
        if len(set(numbers)) != len(numbers):
            raise ConfigError(f"env.incidence[{user}] names an access point twice: {numbers}")
        access.append(sorted(numbers))
        if max(numbers, default=0) >= MAX_POINTS:
            raise ConfigError(f"env.incidence[{user}] names access point {max(numbers)}; number them from 0 without gaps")
    if not access:
        raise ConfigError("env.incidence must list at least one user")
    _refuse_pointless(access, "")
    return access


def conflict_edges(access: Access) -> np.ndarray:
    """Lists the edges [E, 2] of the conflict graph: users are neighbors iff they share an access point."""
    user = np.repeat(np.arange(len(access)), [len(points) for points in access])
    point = np.fromiter(itertools.chain.from_iterable(access), dtype=np.int64, count=len(user))
    count = np.bincount(point)
    if (pairs := int((count * (count - 1) // 2).sum())) > MAX_PAIRS:
        raise ConfigError(
            f"{pairs:.3g} pairs of users share an access point, at most {MAX_PAIRS} can be held; give fewer users a point"
        )
    order = np.argsort(point, kind="stable")
    user, point = user[order], point[order]
    found = [np.empty((0, 2), dtype=np.int64)]
    for apart in range(1, int(count.max(initial=1))):  # users of one point stand together, increasing
        shared = point[apart:] == point[:-apart]
        found.append(np.stack([user[:-apart][shared], user[apart:][shared]], axis=1))
    return np.unique(np.concatenate(found), axis=0)


def _refuse_pointless(access: Access, hint: str) -> None:
    for user, points in enumerate(access):
        if not points:
            raise ConfigError(f"user {user} has no access point in reach{hint}")
