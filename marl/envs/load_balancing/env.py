"""Dispatchers on a graph hand their jobs to queues in reach."""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from marl.core.checks import number
from marl.core.environment import MAX_MASK, NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs.graph import graph as named_graph
from marl.envs.pairs import in_pairs
from marl.envs.per_agent import integers, probabilities
from marl.kernels.arguments import FusedStep

MAX_HOLDING = 1e6


class LoadBalancing(NetworkedMDP):
    """Agent i is a dispatcher with a server and a queue of s_i <= B_i jobs, and hands jobs to its own queue or a neighbor.

    Action 0 keeps the job, action k hands it to the k-th neighbor (increasing). In a slot,
    1. every server with s_i > 0 finishes one job with probability mu_i;
    2. every dispatcher receives a job with probability lam_i and hands it to the queue of a_i;
    3. jobs beyond B_i are lost: with m_i jobs left after 1 and K_i handed to i, s_i' = min(B_i, m_i + K_i).
    r_i = -E[max(0, m_i + K_i - B_i) | z_{N_i}] - h s_i, the expected number of jobs lost at queue i, and the cost of those
    that stood there when the slot began. Given (s, a) jobs of different queues come from different dispatchers, so next
    states are independent over agents.

    graph: see `marl.envs.graph`. buffer: B_i, at least 1; arrival: lam_i, service: mu_i, probabilities per slot; each one
    for all agents or a list. holding: h, per job and slot, from 0 to 1e6. A run starts with empty queues.

    Attributes: buffer, arrival, service [n]; holding; queues [n, A], the queue that an action hands to (oneself for actions
    that do not exist). Uniforms per agent and step: service, arrival.
    Source: the graph model of Tahir, Cui and Koeppl (arXiv 2312.12973), in slots. Errors: `ConfigError`.
    """

    def __init__(
        self,
        graph: str | Network = "ring:4",
        buffer: int | list[int] = 3,
        arrival: float | list[float] = 0.5,
        service: float | list[float] = 0.6,
        holding: float = 0.0,
    ):
        network = named_graph(graph)
        n = network.n
        self.buffer = torch.from_numpy(integers("env.buffer", buffer, n, "agent", 1))
        self.arrival = torch.from_numpy(probabilities("env.arrival", arrival, n, "agent"))
        self.service = torch.from_numpy(probabilities("env.service", service, n, "agent"))
        self.holding = number("env.holding", holding, 0.0, MAX_HOLDING)
        num_actions = 1 + torch.from_numpy(network.adjacency.degree)
        states, actions = 1 + int(self.buffer.max()), int(num_actions.max())
        if n * states * actions > MAX_MASK:
            raise ConfigError(
                f"env.buffer={states - 1} gives {n} agents up to {states} states and {actions} actions each: too many to "
                "list; choose smaller buffers or a graph without such hubs"
            )
        self.queues = _queues(network, actions)
        self._row, self._me = torch.arange(n) * actions, torch.arange(n)
        self._rooms = self.buffer[:, None] - torch.arange(states)  # room left in every state; below 0: no such state
        self._near, mask, _ = network.neighborhood(1)
        self._arriving = self.arrival[self._near] * mask
        alone = len(network.edges) == 0
        super().__init__(
            network,
            num_states=self.buffer + 1,
            num_actions=num_actions,
            action_mask=(self._rooms >= 0)[:, :, None] & (torch.arange(actions) < num_actions[:, None])[:, None, :],
            num_uniforms=2,
            reward_range=(self._least(), 0.0),
            private_actions=alone,
            private_rewards=alone,
        )

    def state_name(self, i: int, s: int) -> str:
        return f"{s or 'no'} job{'s' if s > 1 else ''}"

    def action_name(self, i: int, a: int) -> str:
        queue, labels = int(self.queues[i, a]), self.network.labels
        return "keep" if a == 0 else f"to {labels[queue] if labels else queue}"

    def reward_bound(self) -> float:
        """Bounds the average reward of every policy by minus `marl.envs.load_balancing.pooled_loss`."""
        from marl.envs.load_balancing.limits import pooled_loss

        return -pooled_loss(self)

    def fused(self) -> FusedStep:
        """Gives the compiled step (see `marl.envs.load_balancing.kernel`) and its numbers."""
        from marl.envs.load_balancing import kernel  # numba takes its time: only where it is used

        levels = 1 + min(int(self.buffer.max()), int(self.num_actions.max()) - 1)
        handed = self.queues[torch.arange(self.queues.shape[1]) < self.num_actions[:, None]]
        start = np.concatenate(([0], self.num_actions.numpy().cumsum()))
        first, pairs, _ = in_pairs(start, handed.numpy(), 0)
        ints = np.concatenate(((levels,), self.buffer.numpy(), first[:-1] + 1 + 2 * self.n, pairs))
        floats = np.concatenate((self.service.numpy(), self.arrival.numpy(), (self.holding,)))
        return FusedStep(kernel.step, ints, floats, work=self.n * (levels + 1))

    def _least(self) -> float:
        """Returns the lowest reward: of a full queue to which all its neighborhood hands its jobs."""
        _, lost = self._receive(self._served(self.buffer), self._arriving.unbind(1))
        return float((-lost - self.holding * self.buffer.double()).min())

    def _served(self, s: Tensor) -> Tensor:
        """Gives the law of the room left in every queue after services, [*X, n, S]; 0 is a full queue."""
        busy, room = s > 0, (self.buffer - s).unsqueeze(-1)
        finishes = (self.service * busy).unsqueeze(-1)
        law = torch.zeros(*s.shape, self._rooms.shape[1], dtype=torch.float64)
        law.scatter_(-1, room, 1.0 - finishes)
        return law.scatter_add_(-1, room + busy.unsqueeze(-1), finishes)

    def _sent(self, a: Tensor) -> Iterable[Tensor]:
        """Gives the probability of a job from one agent of N_i after the other to queue i, [*X, n] each."""
        queue = torch.take(self.queues, self._row + a)
        return (
            (queue[..., sender] == self._me) * arrival
            for sender, arrival in zip(self._near.unbind(1), self._arriving.unbind(1), strict=True)
        )

    def _receive(self, law: Tensor, sent: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
        """Takes jobs in, one dispatcher after the other, into the law of the room: (it afterwards, jobs lost)."""
        lost = torch.zeros(law.shape[:-1], dtype=torch.float64)
        for p in sent:
            lost = lost + p * law[..., 0]
            filled = p.unsqueeze(-1) * law[..., 1:]
            law[..., 1:] -= filled
            law[..., :-1] += filled
        return law, lost

    def _reset(self, u: Tensor) -> Tensor:
        return torch.zeros(u.shape[:-1], dtype=torch.int64)

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        left = s - ((s > 0) & (u[..., 0] < self.service)).long()
        queue = torch.take(self.queues, self._row + a)
        left.scatter_add_(-1, queue, (u[..., 1] < self.arrival).long())
        return torch.minimum(left, self.buffer), self._reward(s, a)

    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        law, _ = self._receive(self._served(s), self._sent(a))
        return law.gather(-1, self._rooms.clamp(min=0).expand(law.shape)) * (self._rooms >= 0)

    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        _, lost = self._receive(self._served(s), self._sent(a))
        return -lost - self.holding * s.double()


def _queues(network: Network, actions: int) -> Tensor:
    """Lists the queues in reach, [n, actions]: one's own, then the neighbors', then one's own again where there is none."""
    start, node = network.adjacency
    agent = np.repeat(np.arange(network.n), network.adjacency.degree)
    queues = np.repeat(np.arange(network.n)[:, None], actions, axis=1)
    queues[agent, 1 + np.arange(len(node)) - start[agent]] = node
    return torch.from_numpy(queues)
