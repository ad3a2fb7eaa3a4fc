"""Houses stand in a row or at the corners of a grid of cells; who fights where follows from that."""

from typing import NamedTuple

import numpy as np

from marl.core.checks import integer
from marl.core.errors import ConfigError
from marl.core.network import Network


class Houses(NamedTuple):
    """These are height x width houses, numbered row by row, and the agents between them.

    An agent fights at a first house and the one to its right, in a grid also at the two below them. The node of the first
    house carries it; the last house of a row, and the last row and column of a grid, are nobody's first.
    """

    height: int
    width: int
    grid: bool

    @property
    def n(self) -> int:
        """Returns the number of houses."""
        return self.height * self.width

    @property
    def reach(self) -> np.ndarray:
        """Returns how far, in numbers of houses, an agent's houses are from its first one. Shapes: [A]."""
        return np.array([0, 1, self.width, self.width + 1]) if self.grid else np.array([0, 1])

    @property
    def positions(self) -> np.ndarray:
        """Returns row and column of every house. Shapes: [n, 2]."""
        return np.stack(np.divmod(np.arange(self.n), self.width), axis=1)

    @property
    def manned(self) -> np.ndarray:
        """Tells which nodes carry an agent. Shapes: [n]."""
        row, column = self.positions.T
        return (column < self.width - 1) & ((row < self.height - 1) | (not self.grid))

    def visited(self) -> np.ndarray:
        """Returns the house that every action visits, n where the node carries no agent. Shapes: [n, A]."""
        return np.where(self.manned[:, None], np.arange(self.n)[:, None] + self.reach, self.n)

    def beside(self) -> np.ndarray:
        """Returns the houses beside each, the last one repeated where there are fewer. Shapes: [n, 2], in a grid [n, 4]."""
        rows = Network.grid(self.height, self.width).adjacency
        sides = np.arange(4 if self.grid else 2)
        return rows.node[rows.start[:-1, None] + np.minimum(sides, rows.degree[:, None] - 1)]

    def network(self) -> Network:
        """Joins houses that are beside each other, and in a grid each to the one that its agent fights at, down right.

        So N_i holds the houses beside i, the agents that can visit it and the houses that its own agent can visit.
        """
        sides = Network.grid(self.height, self.width).edges
        if not self.grid:
            return Network(self.n, sides)
        first = np.flatnonzero(self.manned)
        return Network(self.n, np.concatenate([sides, np.stack([first, first + self.reach[-1]], axis=1)]))


def houses(agents: int | None, rows: int | None, cols: int | None) -> Houses:
    """Places a row of `agents` or a grid of `rows` x `cols` agents; a row of four if nothing is said.

    Errors: `ConfigError` if both are given, or half a grid.
    """
    if rows is None and cols is None:
        return Houses(1, 1 + integer("env.agents", 4 if agents is None else agents, 1), False)
    if agents is not None:
        raise ConfigError(
            f"env.agents={agents!r} makes a row, env.rows={rows!r} and env.cols={cols!r} a grid; give either of them"
        )
    if rows is None or cols is None:
        raise ConfigError(f"a grid needs both env.rows and env.cols, got env.rows={rows!r} and env.cols={cols!r}")
    return Houses(1 + integer("env.rows", rows, 1), 1 + integer("env.cols", cols, 1), True)
