"""Firefighters protect houses that set each other on fire (Oliehoek, Spaan, Whiteson and Vlassis 2008)."""

import numpy as np
import torch
from torch import Tensor

from marl.core.environment import MAX_MASK, NetworkedMDP
from marl.core.errors import ConfigError
from marl.envs.firefighters.houses import houses
from marl.envs.per_agent import integers, probabilities
from marl.kernels.arguments import FusedStep

SIDES = "left", "right"
CORNERS = "upper left", "upper right", "lower left", "lower right"


class Firefighters(NetworkedMDP):
    """Every agent visits one of the houses around it, and fire spreads from house to house.

    Node i is house i, with a fire level s_i in 0..L_i, and carries at most one agent. In a row, agent i = 0..n-2 stands
    between houses i and i+1 and visits one of them: a_i = 0 is house i, 1 is house i+1. In a grid an agent stands in every
    cell and the houses at the corners: a_i = 0 is house i, 1 the one to the right, 2 the one below, 3 the one below to the
    right. Nodes without an agent (the last house of a row; the last row and column of a grid) have one action.

    A house burns if its level is above 0, and is beside fire if one to its left or right (in a grid also above or below)
    burns. With v visitors, in one step

        v = 0, cold      s_i' = 1 with probability ignition_i beside fire, else spontaneous_i
        v = 0, burning   s_i' = min(s_i + 1, L_i) with probability growth_beside_i beside fire, else growth_i
        v = 1, burning   s_i' = s_i - 1 with probability dousing_beside_i beside fire, else dousing_i
        v >= 2           s_i' = 0

    and otherwise s_i' = s_i; a cold house with a visitor stays cold. r_i = -s_i. Neighbors are houses beside one another
    and, in a grid, the first and the last house of an agent, so N_i holds whoever can visit house i.

    agents: how many stand in a row, of n = agents + 1 houses; or rows, cols: how many stand in a grid, of
    n = (rows + 1) (cols + 1) houses, numbered row by row. A row of 4 if none is given.
    levels: L_i. spontaneous, ignition, growth, growth_beside, dousing, dousing_beside: probabilities. Each is one for all
    houses or a list with one for each.
    A run starts with a uniform level per house.

    Attributes: levels [n], visited [n, A] (the house that an action visits, n where the node carries no agent), positions
    [n, 2] (row and column of a house). One uniform per agent and step. Source: F. A. Oliehoek, M. T. J. Spaan, S. Whiteson,
    N. Vlassis, Exploiting locality of interaction in factored Dec-POMDPs, AAMAS 2008; the defaults are those of COGNAC
    (J. Sintes, A. Busic 2025), but for spontaneous, which is 0 there. Errors: `ConfigError`.
    """

    def __init__(
        self,
        agents: int | None = None,
        rows: int | None = None,
        cols: int | None = None,
        levels: int | list[int] = 2,
        spontaneous: float | list[float] = 0.05,
        ignition: float | list[float] = 0.3,
        growth: float | list[float] = 0.4,
        growth_beside: float | list[float] = 0.7,
        dousing: float | list[float] = 1.0,
        dousing_beside: float | list[float] = 0.6,
    ):
        placed = houses(agents, rows, cols)
        n, actions = placed.n, len(placed.reach)
        if n * 2 * actions > MAX_MASK:
            raise ConfigError(f"{_given(agents, rows, cols)} makes {n} houses, too many to list; choose fewer agents")
        top = integers("env.levels", levels, n, "house", 1)
        if n * (int(top.max()) + 1) * actions > MAX_MASK:
            raise ConfigError(f"env.levels={int(top.max())} are too many to list for {n} houses; choose fewer")
        given = {
            "spontaneous": spontaneous,
            "ignition": ignition,
            "growth": growth,
            "growth_beside": growth_beside,
            "dousing": dousing,
            "dousing_beside": dousing_beside,
        }
        p = {name: probabilities(f"env.{name}", value, n, "house") for name, value in given.items()}
        self.levels, self.visited = torch.from_numpy(top), torch.from_numpy(placed.visited())
        self.positions = torch.from_numpy(placed.positions)
        self._beside, self._first = torch.from_numpy(placed.beside()), torch.arange(n) * actions
        self._chance, self._case = torch.from_numpy(_chances(p)), torch.arange(n) * 12
        num_actions = torch.where(torch.from_numpy(placed.manned), actions, 1)
        states = torch.arange(int(top.max()) + 1) <= self.levels[:, None]
        super().__init__(
            placed.network(),
            num_states=self.levels + 1,
            num_actions=num_actions,
            action_mask=states[:, :, None] & (torch.arange(actions) < num_actions[:, None])[:, None, :],
            num_uniforms=1,
            reward_range=(-float(top.max()), 0.0),
            private_actions=False,
            private_rewards=True,
        )

    def state_name(self, i: int, s: int) -> str:
        return f"level {s}"

    def action_name(self, i: int, a: int) -> str:
        if self.num_actions[i] == 1:
            return "no agent"
        return SIDES[a] if len(self.visited[i]) == len(SIDES) else CORNERS[a]

    def reward_bound(self) -> float:
        """Bounds the average reward of every policy by `marl.envs.firefighters.limits.houses_alone`."""
        from marl.envs.firefighters.limits import houses_alone

        return houses_alone(self.levels.numpy(), self._chance.numpy(), int((self.num_actions > 1).sum())) / self.n

    def fused(self) -> FusedStep:
        """Gives the compiled step (see `marl.envs.firefighters.kernel`) and its numbers."""
        from marl.envs.firefighters import kernel  # numba takes its time: only where it is used

        tables = self.visited.numpy(), self._beside.numpy()
        ints = np.concatenate([[table.shape[1] for table in tables], *map(np.ravel, tables), self.levels.numpy()])
        return FusedStep(kernel.step, ints, self._chance.numpy().ravel(), work=self.n + 1)

    def _change(self, s: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """Gives (the level that a house may change to, how probable that is). Any leading axes."""
        house = torch.take(self.visited, self._first + a)
        count = torch.zeros(*s.shape[:-1], self.n + 1, dtype=torch.int64)
        visitors = count.scatter_add_(-1, house, torch.ones_like(house))[..., :-1].clamp(max=2)
        burning, beside = s > 0, (s[..., self._beside] > 0).any(dim=-1)
        chance = torch.take(self._chance, self._case + 4 * visitors + 2 * burning + beside)
        alone = torch.where(visitors == 1, s - burning.long(), 0)
        return torch.where(visitors == 0, torch.minimum(s + 1, self.levels), alone), chance

    def _reset(self, u: Tensor) -> Tensor:
        return (u[..., 0] * self.num_states).long()

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        level, chance = self._change(s, a)
        return torch.where(u[..., 0] < chance, level, s), self._reward(s, a)

    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        level, chance = self._change(s, a)
        law = torch.zeros(*s.shape, self.action_mask.shape[1], dtype=torch.float64)
        law.scatter_add_(-1, level.unsqueeze(-1), chance.unsqueeze(-1))
        return law.scatter_add_(-1, s.unsqueeze(-1), (1.0 - chance).unsqueeze(-1))

    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        return (-s).double()


def _chances(p: dict[str, np.ndarray]) -> np.ndarray:
    """Gives how probable a change is, [n, 12]: by visitors (0, 1, 2 or more), burning (no, yes), beside fire (no, yes)."""
    never, surely = np.zeros_like(p["growth"]), np.ones_like(p["growth"])
    unvisited = [p["spontaneous"], p["ignition"], p["growth"], p["growth_beside"]]
    visited = [never, never, p["dousing"], p["dousing_beside"]]
    return np.stack([*unvisited, *visited, *[surely] * 4], axis=1)


def _given(agents: int | None, rows: int | None, cols: int | None) -> str:
    return f"env.agents={agents}" if rows is None else f"env.rows={rows}, env.cols={cols}"
