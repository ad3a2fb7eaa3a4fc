"""An environment of one's own: a flu (SIS) on any graph, each agent choosing whether to shield itself."""

from collections.abc import Sequence

import torch
from torch import Tensor

from marl import NetworkedMDP
from marl.envs import graph as network_of
from marl.envs.per_agent import probabilities


class Flu(NetworkedMDP):
    """State 0 healthy, 1 infected; action 0 nothing, 1 shield at a cost.

    A healthy agent falls ill by itself with probability `spontaneous` and from each infected neighbor with probability
    `infection`, which a shield cuts to a fifth; an infected one recovers with probability `recovery`.
    Reward: 1 if healthy, minus `cost` if shielding.
    graph: ring:12, karate, a file, or a `Network` (see `marl.envs.graph`). infection: one for all agents, or a list.
    """

    def __init__(
        self,
        graph: str = "ring:12",
        infection: float | Sequence[float] = 0.6,
        spontaneous: float = 0.02,
        recovery: float = 0.3,
        cost: float = 0.2,
    ):
        network = network_of(graph)
        self.infection = torch.from_numpy(probabilities("env.infection", infection, network.n, "agent"))
        self.spontaneous, self.recovery, self.cost = spontaneous, recovery, cost
        index, mask, _ = network.neighborhood(1)
        self._neighbors, self._counts = index, mask & (index != torch.arange(network.n)[:, None])
        super().__init__(
            network,
            num_states=torch.full((network.n,), 2),
            num_actions=torch.full((network.n,), 2),
            action_mask=torch.ones(network.n, 2, 2, dtype=torch.bool),
            num_uniforms=1,
            reward_range=(-cost, 1.0),
            private_actions=True,
            private_rewards=True,
        )

    def state_name(self, i: int, s: int) -> str:
        return ("healthy", "infected")[s]

    def action_name(self, i: int, a: int) -> str:
        return ("nothing", "shields")[a]

    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        infected = (s[..., self._neighbors] * self._counts).sum(dim=-1)
        escaped = (1.0 - self.spontaneous) * (1.0 - self.infection * (1.0 - 0.8 * a.double())) ** infected
        sick = torch.where(s == 1, torch.tensor(1.0 - self.recovery, dtype=torch.float64), 1.0 - escaped)
        return torch.stack([1.0 - sick, sick], dim=-1)

    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        return (1 - s).double() - self.cost * a.double()

    def _reset(self, u: Tensor) -> Tensor:
        return (u[..., 0] < 0.5).long()
