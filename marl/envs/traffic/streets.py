"""Streets join the intersections of a grid; cells and sides are numbered north 0, east 1, south 2, west 3."""

import numpy as np
from jaxtyping import Int64

SIDES = 4


def neighbors(rows: int, cols: int) -> Int64[np.ndarray, "n 4"]:
    """Gives the intersection on each side of each, row-major; n = rows * cols where a street leaves the grid."""
    number = np.full((rows + 2, cols + 2), rows * cols)
    number[1:-1, 1:-1] = np.arange(rows * cols).reshape(rows, cols)
    sides = number[:-2, 1:-1], number[1:-1, 2:], number[2:, 1:-1], number[1:-1, :-2]
    return np.stack([side.ravel() for side in sides], axis=1)


def onward(near: Int64[np.ndarray, "n 4"]) -> Int64[np.ndarray, "2 n 4"]:
    """Gives the cell 4 j + c that a vehicle of each cell enters when it goes straight on [0] or left [1]; 4 n outside.

    From cell d one leaves straight on by the side d + 2, to the left by the side d + 1 (modulo 4), and what leaves by the
    side x enters the neighbor's cell x + 2. Traffic keeps to the right.
    """
    sides = (np.arange(SIDES) + np.array([[2], [1]])) % SIDES
    return np.minimum(near[:, sides].swapaxes(0, 1) * SIDES + (sides[:, None, :] + 2) % SIDES, len(near) * SIDES)
