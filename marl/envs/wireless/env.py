"""This is the multi-access wireless network of section 4 and appendix E."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from marl.core.checks import choice, integer
from marl.core.environment import MAX_MASK, NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs.incidence import flattened
from marl.envs.per_agent import integers, probabilities
from marl.envs.wireless.access import conflict_edges, grid_access, grid_positions, listed_access
from marl.kernels.arguments import FusedStep


class WirelessAccess(NetworkedMDP):
    """n users send packets with deadlines to shared access points; two senders at one point collide.

    State s_i = sum_m e_m 2^(m-1), e_m = 1 iff a packet with m steps left is queued. In a step, user i
    1. sends a packet to a point y of Y_i or stays silent; if it is the only one at y, the packet goes through with
       probability q_y, earns reward 1 and leaves the queue;
    2. every other packet has one step less left, and is discarded at 0;
    3. with probability p_i a packet with d_i steps arrives.

    `earliest`: action 0 is silence, action j sends the packet with the fewest steps left to the j-th point of Y_i
    (increasing); an empty queue means silence, and only action 0 is legal there.
    `any_slot`: action 1 + (m-1)|Y_i| + (j-1) sends slot m to the j-th point, legal whether or not the slot holds a
    packet: an empty slot earns nothing but still occupies the point.

    rows, cols, users_per_cell, access_points: the grid (see `grid_access`); or `incidence`, a list of access-point
    lists or a JSON file of one, in place of the grid.
    deadline: d_i, one for all or a list. arrival p_i, success q_y: a number, a list, or None = U[0,1] drawn from
    `numpy.random.default_rng(instance_seed)`, p first, then q.
    A run starts with one fresh packet at each user with probability p_i.

    Attributes: access (the lists Y_i), num_points, any_slot, deadline [n], arrival p [n], success q [num_points]; per user
    and action, [n, A]: target (the point that it occupies, num_points for silence) and slot_bit (the bit of the slot that
    it sends, `any_slot` only). Uniforms per agent and step: success, arrival. Errors: `ConfigError`.
    """

    def __init__(
        self,
        rows: int = 5,
        cols: int = 5,
        access_points: str = "interior",
        users_per_cell: int = 1,
        deadline: int | list[int] = 2,
        arrival: float | list[float] | None = None,
        success: float | list[float] | None = None,
        action_set: str = "earliest",
        instance_seed: int = 0,
        incidence: Any = None,
    ):
        rows, cols = integer("env.rows", rows, 1), integer("env.cols", cols, 1)
        users_per_cell = integer("env.users_per_cell", users_per_cell, 1)
        inside = choice("env.access_points", access_points, ("interior", "corners")) == "interior"
        grid = incidence is None
        access = grid_access(rows, cols, inside, users_per_cell) if grid else listed_access(incidence)
        reach, points = flattened(access)
        n, self.num_points = len(access), 1 + int(points.max())
        if grid:
            self.num_points = (rows - 1) * (cols - 1) if inside else (rows + 1) * (cols + 1)
            self.positions = grid_positions(rows, cols, users_per_cell)
        self.access = access
        self.any_slot = choice("env.action_set", action_set, ("earliest", "any_slot")) == "any_slot"
        deadlines = integers("env.deadline", deadline, n, "user", 1)
        draw = np.random.default_rng(integer("env.instance_seed", instance_seed, 0))
        drawn_p, drawn_q = draw.random(n), draw.random(self.num_points)
        p = drawn_p if arrival is None else probabilities("env.arrival", arrival, n, "user")
        q = drawn_q if success is None else probabilities("env.success", success, self.num_points, "access point")
        self.arrival, self.success = torch.from_numpy(p), torch.from_numpy(q)

        slots = deadlines if self.any_slot else np.ones(n, dtype=np.int64)
        num_actions = 1 + slots * reach
        if int(deadlines.max()) > 30 or n * 2 ** int(deadlines.max()) * int(num_actions.max()) > MAX_MASK:
            raise ConfigError(
                f"env.deadline={int(deadlines.max())} gives {n} users 2^{int(deadlines.max())} states and up to "
                f"{int(num_actions.max())} actions each: too many to list; choose shorter deadlines"
            )
        self.target, self.slot_bit = _actions(reach, points, slots, self.num_points)
        self._row = torch.arange(n) * self.target.shape[1]
        self.deadline = torch.from_numpy(deadlines)
        self._success_or_none = torch.cat([self.success, torch.zeros(1, dtype=torch.float64)])
        network = Network(n, conflict_edges(access))
        super().__init__(
            network,
            num_states=2**self.deadline,
            num_actions=torch.from_numpy(num_actions),
            action_mask=self._legal(torch.from_numpy(num_actions)),
            num_uniforms=2,
            reward_range=(0.0, 1.0),
            private_actions=len(network.edges) == 0,
            private_rewards=len(network.edges) == 0,
        )

    def _legal(self, num_actions: Tensor) -> Tensor:
        states, actions = torch.arange(2 ** int(self.deadline.max())), torch.arange(int(num_actions.max()))
        real = (states < 2 ** self.deadline[:, None])[:, :, None] & (actions < num_actions[:, None])[:, None, :]
        return real & (self.any_slot | (states > 0)[:, None] | (actions == 0))

    def state_name(self, i: int, s: int) -> str:
        due = [str(m + 1) for m in range(s.bit_length()) if s >> m & 1]
        return f"packets due in {', '.join(due)}" if due else "no packet"

    def action_name(self, i: int, a: int) -> str:
        if a == 0:
            return "silent"
        slot = f"slot {int(self.slot_bit[i, a]).bit_length()} " if self.any_slot else ""
        return f"sends {slot}to point {int(self.target[i, a])}"

    def reward_bound(self) -> float:
        """Bounds the average reward of every policy by `marl.envs.wireless.flow_bound`."""
        from marl.envs.wireless.flow import flow_bound

        return flow_bound(self)

    def fused(self) -> FusedStep:
        """Gives the compiled step (see `marl.envs.wireless.kernel`) and its numbers."""
        from marl.envs.wireless import kernel  # numba takes its time: only where it is used

        target, bit, deadline = self.target.numpy(), self.slot_bit.numpy(), self.deadline.numpy()
        head = (self.num_points, target.shape[1], self.any_slot)
        ints = np.concatenate((head, target.ravel(), bit.ravel(), deadline))
        floats = np.concatenate((self.arrival.numpy(), self._success_or_none.numpy()))
        return FusedStep(kernel.step, ints, floats, work=self.num_points + 1 + self.n)

    def _attempt(self, s: Tensor, a: Tensor) -> tuple[Tensor, Tensor]:
        """Gives (bit of the packet sent or 0, probability that it goes through). Any leading axes."""
        flat = self._row + a
        target = torch.take(self.target, flat)
        if self.any_slot:
            bit = torch.take(self.slot_bit, flat) & s
        else:
            target = torch.where(s > 0, target, self.num_points)
            bit = s & -s
        senders = torch.zeros(*s.shape[:-1], self.num_points + 1, dtype=torch.int64)
        senders.scatter_add_(-1, target, torch.ones_like(target))
        alone = senders.gather(-1, target) == 1
        chance = self._success_or_none[target] * (alone & (bit > 0))
        return bit, chance

    def _reset(self, u: Tensor) -> Tensor:
        return (u[..., 1] < self.arrival).long() << (self.deadline - 1)

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        bit, chance = self._attempt(s, a)
        sent = u[..., 0] < chance
        left = torch.where(sent, s - bit, s) >> 1
        fresh = (u[..., 1] < self.arrival).long() << (self.deadline - 1)
        return left | fresh, sent.to(u.dtype)

    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        bit, chance = self._attempt(s, a)
        fresh = (1 << (self.deadline - 1)).expand(s.shape)
        law = torch.zeros(*s.shape, self.action_mask.shape[1], dtype=torch.float64)
        for left, weight in ((s - bit) >> 1, chance), (s >> 1, 1.0 - chance):
            for arrived, probability in (fresh, self.arrival), (0, 1.0 - self.arrival):
                law.scatter_add_(-1, (left | arrived).unsqueeze(-1), (weight * probability).unsqueeze(-1))
        return law

    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        return self._attempt(s, a)[1]


def _actions(reach: np.ndarray, points: np.ndarray, slots: np.ndarray, silent: int) -> tuple[Tensor, Tensor]:
    """Gives, per user and action [n, A], the point it occupies (`silent` = none) and the bit of the slot it sends.

    reach, points: how many points each user reaches, and those of all users in one row.
    """
    padded = np.full((len(reach), reach.max()), silent, dtype=np.int64)
    padded[np.arange(reach.max()) < reach[:, None]] = points
    send = np.arange((slots * reach).max())
    slot, point = np.divmod(send, reach[:, None])
    real = slot < slots[:, None]
    target = np.where(real, np.take_along_axis(padded, point, axis=1), silent)
    bit = np.where(real, 1 << np.minimum(slot, slots[:, None]), 0)
    null = np.zeros((len(reach), 1), dtype=np.int64)
    return torch.from_numpy(np.hstack([null + silent, target])), torch.from_numpy(np.hstack([null, bit]))
