"""A grid of signalized intersections on the cell transmission model is a networked system."""

from typing import NamedTuple

import torch
from jaxtyping import Int64
from torch import Tensor

from marl.core.checks import integer, size
from marl.core.environment import MAX_MASK, NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs.per_agent import probabilities
from marl.envs.traffic.streets import SIDES, neighbors, onward
from marl.kernels.arguments import FusedStep


class Signals(NamedTuple):
    """This is a state taken apart: vehicles per cell, axis with the green (0 north-south), left turns, steps so far."""

    vehicles: Int64[Tensor, "*X n 4"]
    axis: Int64[Tensor, "*X n"]
    left: Int64[Tensor, "*X n"]
    elapsed: Int64[Tensor, "*X n"]


class TrafficSignals(NetworkedMDP):
    """Agent i is an intersection with four incoming cells, 0..C vehicles each, and a signal that holds or advances.

    Intersections stand in a grid, two-way streets join neighbors and leave the grid at its sides. Cell d = north, east,
    south, west (0..3) of i holds the vehicles that come from that side. The signal shows one of four phases
    p = 2 axis + left: axis 0 serves the cells north and south, axis 1 east and west; in a slot with left = 0 what is served
    goes straight on, with left = 1 it turns left.
    State s_i = (4 e + p) (C+1)^4 + sum_d k_d (C+1)^d, k_d vehicles in cell d, e the steps of the present axis so far, at
    most `elapsed` - 1. In a step

    1. hold (a_i = 0): each served cell with a vehicle sends one, iff the cell where it goes to has k < C at the start of
       the step (outside the grid there is always room); advance (a_i = 1): all is red and nothing is sent;
    2. a cell at the side of the grid with k < C at the start of the step takes in one more with probability p_d;
    3. the next axis is the present one (hold, e + 1) or the other one (advance, e = 0), and the next slot is one of left
       turns with probability l_i (`left`), whatever was before.

    r_i = -(vehicles in its cells that did not move + sum of p_d over its full cells at the side) / 4: the expected number
    of those that wanted to move and did not. No vehicle is lost or made but at the sides.

    Whether a vehicle moves and where to is certain given (s, a), so sender and receiver agree without sharing noise: left
    turns are drawn a slot ahead, for a whole intersection at once, and stand in the state. The two vehicles of one slot
    turn together, and one that is held may turn otherwise in the next slot. Under signals that do not look at `left`, a
    share l_i of departures turns left where no cell ahead is full.

    rows, cols: the grid, row-major. capacity: C. arrival p: one for all, or a list with one for each cell at the side, by
    intersections and then north, east, south, west. left l: one for all, or a list with one per intersection.
    elapsed: how many steps of an axis are told apart; 1 = not counted.
    A run starts with one vehicle in a cell at the side with probability p, axis 0, e = 0.

    Attributes: arrival [n, 4] (0 in cells inside), left [n], near [n, 4] (intersections by side, n outside), capacity,
    elapsed. Uniforms per agent and step: left turns, then one for each cell at the side. Source: Daganzo 1994, 1995 (cells
    that send what they have to where there is room); Varaiya 2013 (turning ratios). Errors: `ConfigError`.
    """

    def __init__(
        self,
        rows: int = 3,
        cols: int = 3,
        capacity: int = 2,
        arrival: float | list[float] = 0.2,
        left: float | list[float] = 0.25,
        elapsed: int = 1,
    ):
        rows, cols = integer("env.rows", rows, 1), integer("env.cols", cols, 1)
        self.capacity, self.elapsed = integer("env.capacity", capacity, 1), integer("env.elapsed", elapsed, 1)
        n, self._contents = rows * cols, (self.capacity + 1) ** SIDES
        states = 4 * self.elapsed * self._contents
        if n * states * 2 > MAX_MASK:
            raise ConfigError(
                f"env.capacity={size(self.capacity)} and env.elapsed={size(self.elapsed)} give {size(n)} intersections "
                f"{size(states)} states each: too many to list; choose smaller ones, or fewer of env.rows and env.cols"
            )
        self.near = torch.from_numpy(neighbors(rows, cols))
        self.arrival = torch.zeros(n, SIDES, dtype=torch.float64)
        sides = self.near == n
        drawn = probabilities("env.arrival", arrival, int(sides.sum()), "cell at the side of the grid")
        self.arrival[sides] = torch.from_numpy(drawn)
        self.left = torch.from_numpy(probabilities("env.left", left, n, "intersection"))
        self._column = sides.long().cumsum(dim=1)
        self._place = (self.capacity + 1) ** torch.arange(SIDES)
        self._onward = torch.from_numpy(onward(self.near.numpy()))
        network = Network.grid(rows, cols)
        super().__init__(
            network,
            num_states=torch.full((n,), states),
            num_actions=torch.full((n,), 2),
            action_mask=torch.ones(n, states, 2, dtype=torch.bool),
            num_uniforms=1 + int(self._column.max()),
            reward_range=(-self.capacity - float(self.arrival.sum(dim=1).max()) / SIDES, 0.0),
            private_actions=n == 1,
            private_rewards=n == 1,
        )

    def read(self, s: Int64[Tensor, "*X n"]) -> Signals:
        """Takes states apart. Any leading axes."""
        signal = s // self._contents
        vehicles = (s.unsqueeze(-1) // self._place) % (self.capacity + 1)
        return Signals(vehicles, (signal >> 1) & 1, signal & 1, signal >> 2)

    def onward(self, vehicles: Int64[Tensor, "*X n 4"]) -> Int64[Tensor, "2 *X n 4"]:
        """Counts the vehicles where a vehicle of each cell goes to, straight on [0] and left [1]; 0 outside the grid."""
        counts = torch.cat([vehicles.flatten(-2), torch.zeros_like(vehicles[..., 0, :1])], dim=-1)
        return torch.stack([counts[..., self._onward[0]], counts[..., self._onward[1]]])

    def state_name(self, i: int, s: int) -> str:
        (vehicles,), (axis,), (left,), (elapsed,) = (part.tolist() for part in self.read(torch.tensor([s])))
        cells = " ".join(f"{side}{count}" for side, count in zip("nesw", vehicles, strict=True))
        green = ("north-south", "east-west")[axis] + " left" * left
        return f"{cells}, {green}" + f", step {elapsed}" * (self.elapsed > 1)

    def action_name(self, i: int, a: int) -> str:
        return ("hold", "advance")[a]

    def reward_bound(self) -> float:
        """Bounds the average reward of every policy by `marl.envs.traffic.limits.sides_alone`."""
        from marl.envs.traffic.limits import sides_alone

        return sides_alone(self.arrival.numpy(), (self.near == self.n).numpy(), self.capacity) / self.n

    def fused(self) -> FusedStep:
        """Gives the compiled step (see `marl.envs.traffic.kernel`) and its numbers."""
        from marl.envs.traffic import kernel  # numba takes its time: only where it is used

        vehicles, axis, left, _ = self.read(torch.arange(int(self.num_states[0])))
        served = torch.stack([axis, axis + 2], dim=-1)
        sends = ((vehicles.gather(-1, served) > 0) << torch.arange(2)).sum(dim=-1)
        full = ((vehicles == self.capacity) << torch.arange(SIDES)).sum(dim=-1)
        exits = (axis + 2 - left) % SIDES
        facts = sends | full << 2 | axis << 6 | exits << 7 | vehicles.sum(dim=-1) << 9
        actions = torch.arange(2)[:, None]
        base = self._signal(torch.arange(len(facts)).expand(2, -1), actions) + (vehicles * self._place).sum(dim=-1)
        entries = self.arrival.flatten().nonzero().flatten()
        head = torch.tensor([len(entries), self._contents, len(facts)])
        parts = (head, self._place, self.near, facts, base, entries, self._column.flatten()[entries])
        floats = torch.cat([self.left, self.arrival.flatten()[entries]])
        return FusedStep(kernel.step, torch.cat([x.flatten() for x in parts]).numpy(), floats.numpy(), work=2 * self.n + 2)

    def _signal(self, s: Tensor, a: Tensor) -> Tensor:
        """Gives the part of the next state that is the signal, before left turns are drawn."""
        signal = s // self._contents
        counted = torch.where(a == 0, torch.clamp((signal >> 2) + 1, max=self.elapsed - 1), 0)
        return (4 * counted + (signal & 2 ^ 2 * a)) * self._contents

    def _moves(self, s: Tensor, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Gives vehicles in the cells, those sent, and those received from neighbors, [*X, n, 4] each."""
        vehicles, axis, left, _ = self.read(s)
        straight_on, to_the_left = self.onward(vehicles)
        turns = (left == 1).unsqueeze(-1)
        room = torch.where(turns, to_the_left, straight_on) < self.capacity
        green = (torch.arange(SIDES) % 2 == axis.unsqueeze(-1)) & (a == 0).unsqueeze(-1)
        sent = (green & room & (vehicles > 0)).long()
        target = torch.where(turns, self._onward[1], self._onward[0]).flatten(-2)
        received = torch.zeros(*s.shape[:-1], self.n * SIDES + 1, dtype=torch.int64)  # the last one: outside
        received.scatter_add_(-1, target, sent.flatten(-2))
        return vehicles, sent, received[..., :-1].unflatten(-1, (self.n, SIDES))

    def _arriving(self, u: Tensor) -> Tensor:
        """Tells into which cells a vehicle wants to come from outside, [*X, n, 4]."""
        return u.gather(-1, self._column.expand(*u.shape[:-1], SIDES)) < self.arrival

    def _reset(self, u: Tensor) -> Tensor:
        return (self._arriving(u) * self._place).sum(dim=-1) + self._contents * (u[..., 0] < self.left)

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        vehicles, sent, received = self._moves(s, a)
        arrived = self._arriving(u) & (vehicles < self.capacity)
        after = ((vehicles - sent + received + arrived) * self._place).sum(dim=-1)
        return self._signal(s, a) + self._contents * (u[..., 0] < self.left) + after, self._held(vehicles, sent)

    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        vehicles, sent, received = self._moves(s, a)
        chance = self.arrival * (vehicles < self.capacity)
        state = (self._signal(s, a) + ((vehicles - sent + received) * self._place).sum(dim=-1)).unsqueeze(-1)
        weight = torch.ones(state.shape, dtype=torch.float64)
        draws = [(chance[..., d, None], int(self._place[d])) for d in range(SIDES)]
        for p, more in (*draws, (self.left[:, None], self._contents)):
            state = torch.cat([state, state + more * (p > 0.0)], dim=-1)  # what cannot be is no state, or another one
            weight = torch.cat([weight * (1.0 - p), weight * p], dim=-1)
        law = torch.zeros(*s.shape, int(self.num_states[0]), dtype=torch.float64)
        return law.scatter_add_(-1, state, weight)

    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        return self._held(*self._moves(s, a)[:2])

    def _held(self, vehicles: Tensor, sent: Tensor) -> Tensor:
        """Gives the reward: those that wanted to move and did not, a cell's vehicles and those in front of a full one."""
        refused = self.arrival * (vehicles == self.capacity)
        return -((vehicles - sent).sum(dim=-1) + refused.sum(dim=-1)) / SIDES
