"""Houses stand in a row or at the corners of a grid of cells; who fights where follows from that."""

from typing import NamedTuple

import numpy as np

from marl.core.checks import integer
from marl.core.errors import ConfigError
from marl.core.network import Network


class Houses(NamedTuple):
    """These are height x width houses, row-major, and the agents between them.

    An agent's houses are rows of `reach`: itself and the next, in a grid also those below them. The node of a house carries
    the agent whose first house it is; the last column, and in a grid the last row, carry none.

    Shapes: reach [A], how far a house of an agent's is from its first; last [2], position of the last house with an agent.
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
        """Returns the houses beside each, the last one repeated where it has fewer than others. Shapes: [n, m]."""
        start, node = Network.grid(self.height, self.width).adjacency
        degree = np.diff(start)
        return node[start[:-1, None] + np.minimum(np.arange(degree.max()), degree[:, None] - 1)]

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
            f"env.agents={agents!r} is a row and env.rows={rows!r}, env.cols={cols!r} a grid; give one of them, the other null"
        )
    if rows is None or cols is None:
        raise ConfigError(f"a grid needs both env.rows and env.cols, got env.rows={rows!r} and env.cols={cols!r}")
    return Houses(1 + integer("env.rows", rows, 1), 1 + integer("env.cols", cols, 1), True)
