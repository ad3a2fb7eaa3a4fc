"""This is an epidemic on a graph that comes in from outside again and again, against which agents shield themselves."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from marl.core.checks import boolean
from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs.graph import graph as named_graph
from marl.envs.pairs import in_pairs
from marl.envs.per_agent import numbers, probabilities
from marl.kernels.arguments import FusedStep


class Epidemic(NetworkedMDP):
    """A disease spreads along the edges of a graph and comes in from outside; agents shield themselves, at a cost.

    State s_i: 0 susceptible, 1 infected and, with `waning`, 2 recovered. Action a_i: 0 open, 1 shield. In a step

        0 -> 1 with probability 1 - (1 - import_i) prod_{j ~ i, s_j = 1} (1 - b_i w_ij leak_i^{a_i})
        1 -> 0 with probability recovery_i; with `waning` 1 -> 2 instead, and 2 -> 0 with probability waning_i

    and an agent that does not move on stays what it is; r_i = -1{s_i = 1} - cost_i a_i. With `mutual` the shield of j
    protects i too: the product is over 1 - b_i w_ij leak_i^{a_i} leak_j^{a_j}.

    graph: see `marl.envs.graph`. infection b_i, recovery, import_rate (import_i, 0 lets the disease die out for good) and
    leak (what a shield lets through: 0 nothing, 1 everything) are probabilities per step, cost at least 0; each is one for
    all agents or a list. weights: w_ij = w_ji >= 0, one for all edges or one per edge in the order of `network.edges`, with
    b_i w_ij at most 1. waning: None = two states; a probability per step, one or a list = three.
    A run starts in a uniform state per agent.

    Attributes: infection, recovery, import_rate, leak, cost [n], weights [E], mutual, waning ([n] or None). Uniforms per
    agent and step: one; s_i moves on iff it is at least the probability to stay.
    Source: SIS and SIRS models on networks (Kiss, Miller, Simon 2017), in discrete time. Errors: `ConfigError`.
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
        n = network.n
        self.infection = torch.from_numpy(probabilities("env.infection", infection, n, "agent"))
        self.recovery = torch.from_numpy(probabilities("env.recovery", recovery, n, "agent"))
        self.import_rate = torch.from_numpy(probabilities("env.import_rate", import_rate, n, "agent"))
        self.leak = torch.from_numpy(probabilities("env.leak", leak, n, "agent"))
        self.cost = torch.from_numpy(numbers("env.cost", cost, n, "agent", 0.0))
        self.weights = torch.from_numpy(numbers("env.weights", weights, len(network.edges), "edge", 0.0))
        self.mutual = boolean("env.mutual", mutual)
        self.waning = None if waning is None else torch.from_numpy(probabilities("env.waning", waning, n, "agent"))
        moves = [self.import_rate, self.recovery] + ([] if self.waning is None else [self.waning])
        self._stay = 1.0 - torch.stack(moves, dim=1)  # [n, S], of a susceptible agent that no neighbor infects
        self._own = torch.arange(n) * len(moves)
        _, node = network.adjacency
        self._row, self._node = torch.from_numpy(np.repeat(np.arange(n), network.adjacency.degree)), torch.from_numpy(node)
        self._rate = self.infection[self._row] * self.weights[_edge_of_entries(network)]  # b_i w_ij along the rows
        self._refuse_too_much()
        super().__init__(
            network,
            num_states=torch.full((n,), len(moves)),
            num_actions=torch.full((n,), 2),
            action_mask=torch.ones(n, len(moves), 2, dtype=torch.bool),
            num_uniforms=1,
            reward_range=(-1.0 - float(self.cost.max()), 0.0),
            private_actions=not self.mutual or len(network.edges) == 0,
            private_rewards=True,
        )

    def _refuse_too_much(self) -> None:
        if (self._rate > 1.0).any():
            k = int(self._rate.argmax())
            i, j = int(self._row[k]), int(self._node[k])
            raise ConfigError(
                f"env.infection[{i}] times the weight in env.weights of the edge between {i} and {j} is "
                f"{float(self._rate[k]):g}, but a probability is at most 1; make one of them smaller"
            )

    def state_name(self, i: int, s: int) -> str:
        return ("susceptible", "infected", "recovered")[s]

    def action_name(self, i: int, a: int) -> str:
        return ("open", "shield")[a]

    def reward_bound(self) -> float:
        """Bounds the average reward of every policy by minus the mean of `marl.envs.epidemic.limits.imported_cases`."""
        from marl.envs.epidemic.limits import imported_cases

        waning = None if self.waning is None else self.waning.numpy()
        return -float(imported_cases(self.import_rate.numpy(), self.recovery.numpy(), waning).mean())

    def fused(self) -> FusedStep:
        """Gives the compiled step (see `marl.envs.epidemic.kernel`) and its numbers."""
        from marl.envs.epidemic import kernel  # numba takes its time: only where it is used

        start, node = self.network.adjacency
        first = torch.cat([self._rate, torch.zeros(1, dtype=torch.float64)])[torch.from_numpy(start[:-1])]
        even = torch.equal(self._rate, first[self._row])
        own = torch.cat([self._stay, self.cost[:, None]], dim=1)
        rows, pairs, place = in_pairs(start, node, self.n)
        rates = np.zeros(2 * len(pairs))
        rates[place] = self._rate
        alike = bool((own == own[0]).all())  # one row for all: less to read
        floats = np.concatenate((self.leak, first if even else rates, (own[:1] if alike else own).flatten()))
        ints = np.concatenate(((own.shape[1] - 1, 0 if alike else own.shape[1]), 2 + self.n + rows[1:], pairs))
        return FusedStep(kernel.step_for(even, self.mutual), ints, floats, work=self.n + 1)

    def _stays(self, s: Tensor, a: Tensor) -> Tensor:
        """Gives the probability that s_i stays what it is, products in the order of the rows, as in the kernel."""
        through = torch.where(a == 1, self.leak, 1.0)
        source = (s == 1).double() * (through if self.mutual else 1.0)
        infects = self._rate * through[..., self._row] * source[..., self._node]
        escaped = torch.ones(s.shape, dtype=torch.float64)
        escaped.scatter_reduce_(-1, self._row.expand(infects.shape), 1.0 - infects, "prod")
        return torch.take(self._stay, self._own + s) * torch.where(s == 0, escaped, 1.0)

    def _reset(self, u: Tensor) -> Tensor:
        return (u[..., 0] * self.num_states).long()

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        moved = s + (u[..., 0] >= self._stays(s, a))
        return torch.where(moved < self.num_states, moved, 0), self._reward(s, a)

    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        stays = self._stays(s, a).unsqueeze(-1)
        here = F.one_hot(s, self._stay.shape[1])
        return here * stays + here.roll(1, dims=-1) * (1.0 - stays)

    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        return -(s == 1).double() - self.cost * a


def _edge_of_entries(network: Network) -> np.ndarray:
    """Numbers the edge that every entry of the compressed rows belongs to, [2 E]."""
    edge, (i, j) = np.arange(len(network.edges)), network.edges.T
    return np.concatenate([edge, edge])[np.lexsort((np.concatenate([j, i]), np.concatenate([i, j])))]
