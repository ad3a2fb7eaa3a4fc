"""Links that share a channel send one packet at a time, and two that conflict must not send together."""

import numpy as np
import torch
from torch import Tensor

from marl.core.environment import MAX_MASK, NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.lookup import over_neighbors
from marl.core.network import Network
from marl.envs.graph import graph as named_graph
from marl.envs.per_agent import integers, probabilities
from marl.kernels.arguments import FusedStep


class Scheduling(NetworkedMDP):
    """Every agent is a link with a queue of s_i packets, at most B_i; an edge of the graph is a conflict of two links.

    a_i: 0 idle, 1 send, which is legal if s_i > 0. In a slot, in this order:
    1. a link that sends while no neighbor sends gets its first packet through with probability q_i: d_i = 1, else d_i = 0;
    2. a packet arrives at link i with probability lam_i: e_i = 1, else e_i = 0. s_i' = min(s_i - d_i + e_i, B_i), and what
       exceeds B_i is lost.

    r_i = -s_i / B_i - E[packets lost at i | z] = -s_i / B_i - 1{s_i = B_i} lam_i (1 - q_i 1{i sends alone}), s_i before the
    slot: it pays for the queue that it has now and, in expectation, for what it loses now. `step` gives this r_i too.

    graph: see `marl.envs.graph`. buffer: B_i in packets, at least 1. arrival: lam_i in packets a slot. success: q_i. Each
    is one value for all links, or a list with one for each. A run starts with empty queues.
    Attributes: buffer, arrival, success [n]; ends [2, E], the two links of every conflict, the lower first. Uniforms per
    agent and step: success, arrival. Source: Tassiulas and Ephremides 1992, with buffers. Errors: `ConfigError`.
    """

    def __init__(
        self,
        graph: str | Network = "ring:6",
        buffer: int | list[int] = 3,
        arrival: float | list[float] = 0.2,
        success: float | list[float] = 0.8,
    ):
        network = named_graph(graph)
        n = network.n
        buffers = integers("env.buffer", buffer, n, "link", 1)
        longest = int(buffers.max())
        if 2 * n * (longest + 1) > MAX_MASK:
            raise ConfigError(f"env.buffer={longest} gives {n} links too many states to list; choose smaller buffers")
        self.buffer = torch.from_numpy(buffers)
        self.arrival = torch.from_numpy(probabilities("env.arrival", arrival, n, "link"))
        self.success = torch.from_numpy(probabilities("env.success", success, n, "link"))
        self.ends = torch.from_numpy(network.edges).T
        s = torch.arange(longest + 1)
        real = s <= self.buffer[:, None]
        super().__init__(
            network,
            num_states=self.buffer + 1,
            num_actions=torch.full((n,), 2),
            action_mask=torch.stack([real, real & (s > 0)], dim=2),
            num_uniforms=2,
            reward_range=(-1.0 - float(self.arrival.max()), 0.0),
            private_actions=len(network.edges) == 0,
            private_rewards=len(network.edges) == 0,
        )

    def state_name(self, i: int, s: int) -> str:
        return f"{s or 'no'} packet{'s' if s > 1 else ''}"

    def action_name(self, i: int, a: int) -> str:
        return ("idle", "send")[a]

    def reward_bound(self) -> float:
        """Bounds the average reward of every policy by `marl.envs.scheduling.links_alone`."""
        from marl.envs.scheduling.limits import links_alone

        return links_alone(self)

    def fused(self) -> FusedStep:
        """Gives the compiled step (see `marl.envs.scheduling.kernel`) and its numbers."""
        from marl.envs.scheduling import kernel  # numba takes its time: only where it is used

        start, node = self.network.adjacency
        ints = np.concatenate((2 * self.n + start[1:], self.buffer.numpy(), node))
        floats = np.concatenate((self.arrival.numpy(), self.success.numpy(), -1.0 / self.buffer.numpy()))
        return FusedStep(kernel.step, ints, floats)

    def _chance(self, a: Tensor) -> Tensor:
        """Gives the probability that a packet of link i goes through. Any leading axes."""
        return self.success * (a * (over_neighbors(self.ends, a) == 0))

    def _paid(self, s: Tensor, chance: Tensor) -> Tensor:
        """Gives r_i where a packet goes through with this chance."""
        return (-s).double() / self.buffer - (s == self.buffer) * self.arrival * (1.0 - chance)

    def _reset(self, u: Tensor) -> Tensor:
        return torch.zeros(u.shape[:-1], dtype=torch.int64)

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        chance = self._chance(a)
        left = s - (u[..., 0] < chance).long()
        return torch.minimum(left + (u[..., 1] < self.arrival).long(), self.buffer), self._paid(s, chance)

    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        chance = self._chance(a)
        law = torch.zeros(*s.shape, self.action_mask.shape[1], dtype=torch.float64)
        for left, weight in ((s - 1).clamp(min=0), chance), (s, 1.0 - chance):
            for after, probability in (torch.minimum(left + 1, self.buffer), self.arrival), (left, 1.0 - self.arrival):
                law.scatter_add_(-1, after.unsqueeze(-1), (weight * probability).unsqueeze(-1))
        return law

    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        return self._paid(s, self._chance(a))
