"""This is an epidemic on a graph that is brought in from outside again and again, against which agents shield themselves."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from marl.core.checks import boolean
from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs.graph import graph as named_graph
from marl.envs.per_agent import numbers, probabilities
from marl.kernels.arguments import FusedStep


class Epidemic(NetworkedMDP):
    """A disease spreads over the edges of a graph and comes in from outside; agents may shield themselves at a cost.

    State s_i: 0 susceptible, 1 infected, and with `waning` 2 recovered. Action a_i: 0 open, 1 shield. In a step

        P(0 -> 1) = 1 - (1 - import_i) prod_{j in N_i, s_j = 1} (1 - b_i w_ij leak_i^{a_i})
        P(1 -> 0) = recovery_i   without `waning`;   P(1 -> 2) = recovery_i, P(2 -> 0) = waning_i   with it,

    an agent that does not move on keeps its state, and r_i = -1{s_i = 1} - cost_i a_i, which is certain. With `mutual` the
    shield of j protects i too: the product has 1 - b_i w_ij leak_i^{a_i} leak_j^{a_j}.

    graph: see `marl.envs.graph`. weights: w_ij >= 0, one for all edges or one per edge in the order of `network.edges`, with
    b_i w_ij <= 1 at both ends. One for all agents or a list: infection b_i, recovery_i, import_rate (import_i), leak_i (0 = a
    shield lets nothing through, 1 = everything) and waning_i are probabilities per step, cost_i >= 0. waning: None = two
    states. A run starts in a uniform state per agent. With import_rate = 0 the disease dies out for good.

    Attributes: infection, recovery, import_rate, leak, cost [n], waning ([n] or None), weights [E], mutual. Uniforms per
    agent and step: one, s_i moves on iff it is at least the probability to stay. Source: Kiss, Miller and Simon,
    Mathematics of Epidemics on Networks, 2017 (SIS and SIRS in discrete time). Errors: `ConfigError`.
    """

    def __init__(
        self,
        graph: str | Network = "ring:6",
        infection: float | list[float] = 0.6,
        recovery: float | list[float] = 0.3,
        import_rate: float | list[float] = 0.01,
        leak: float | list[float] = 0.0,
        cost: float | list[float] = 0.2,
        weights: float | list[float] = 1.0,
        mutual: bool = False,
        waning: float | list[float] | None = None,
    ):
        network = named_graph(graph)
        n, states = network.n, 2 if waning is None else 3
        b = probabilities("env.infection", infection, n, "agent")
        leaks = probabilities("env.leak", leak, n, "agent")
        w = numbers("env.weights", weights, len(network.edges), "edge", 0.0)
        self.infection, self.leak, self.weights = (torch.from_numpy(x) for x in (b, leaks, w))
        self.recovery = torch.from_numpy(probabilities("env.recovery", recovery, n, "agent"))
        self.import_rate = torch.from_numpy(probabilities("env.import_rate", import_rate, n, "agent"))
        self.cost = torch.from_numpy(numbers("env.cost", cost, n, "agent", 0.0))
        self.waning = None if waning is None else torch.from_numpy(probabilities("env.waning", waning, n, "agent"))
        self.mutual = boolean("env.mutual", mutual)
        moves = [self.import_rate, self.recovery] + ([] if self.waning is None else [self.waning])
        self._keeps = 1.0 - torch.stack(moves, dim=1)  # [n, S], state 0: if no neighbor infects
        self._own = torch.arange(n) * states
        start, node = network.adjacency
        row = np.repeat(np.arange(n), np.diff(start))
        self._row, self._node = torch.from_numpy(row), torch.from_numpy(node)
        rate = _infections(network, b, w)
        open_, shut = np.ones(len(node)), leaks
        through = [own * other for other in (open_, shut[node])[: 1 + mutual] for own in (open_, shut[row])]
        self._escape = torch.from_numpy(1.0 - rate * np.stack(through)).flatten()  # of a_i + 2 a_j, entry of the rows
        self._entry = torch.arange(len(node))
        super().__init__(
            network,
            num_states=torch.full((n,), states),
            num_actions=torch.full((n,), 2),
            action_mask=torch.ones(n, states, 2, dtype=torch.bool),
            num_uniforms=1,
            reward_range=(-1.0 - float(self.cost.max()), 0.0),
            private_actions=not self.mutual or len(network.edges) == 0,
            private_rewards=True,
        )

    def fused(self) -> FusedStep:
        """Gives the compiled step (see `marl.envs.epidemic.kernel`) and its numbers."""
        from marl.envs.epidemic import kernel  # numba takes its time: only where it is used

        start, node = self.network.adjacency
        states = self._keeps.shape[1]
        own = torch.cat([self._keeps, self.cost[:, None]], dim=1).flatten()
        floats = torch.cat([own, self._escape]).numpy()
        step = kernel.mutual_step if self.mutual else kernel.step
        return FusedStep(step, np.concatenate(([states], start, node)), floats)

    def _stays(self, s: Tensor, a: Tensor) -> Tensor:
        """Gives the probability that s_i stays what it is. Any leading axes."""
        shields = a[..., self._row] + 2 * a[..., self._node] if self.mutual else a[..., self._row]
        escape = torch.take(self._escape, shields * len(self._node) + self._entry)
        escape = torch.where(s[..., self._node] == 1, escape, 1.0)
        factors = torch.ones(s.shape, dtype=torch.float64)
        factors.scatter_reduce_(-1, self._row.expand(escape.shape), escape, "prod")  # in the order of the rows, as the kernel
        return torch.take(self._keeps, self._own + s) * torch.where(s == 0, factors, 1.0)

    def _reset(self, u: Tensor) -> Tensor:
        return (u[..., 0] * self.num_states).long()

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        moved = s + (u[..., 0] >= self._stays(s, a))
        return torch.where(moved < self.num_states, moved, 0), self._reward(s, a)

    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        stays = self._stays(s, a).unsqueeze(-1)
        here = torch.nn.functional.one_hot(s, self._keeps.shape[1])
        return here * stays + here.roll(1, dims=-1) * (1.0 - stays)

    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        return -(s == 1).double() - self.cost * a


def _infections(network: Network, b: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Gives b_i w_ij of every entry (i, j) of the compressed rows."""
    i, j = network.edges.T
    for agent in i, j:
        rate = b[agent] * w
        if (rate > 1.0).any():
            e = int(rate.argmax())
            raise ConfigError(
                f"env.infection[{agent[e]}] x env.weights[{e}] is {rate[e]:g}, but a probability is at most 1; give less of one"
            )
    to, weight = np.concatenate([i, j]), np.concatenate([w, w])
    order = np.argsort(to * network.n + np.concatenate([j, i]))
    return (b[to] * weight)[order]
