"""A small network per agent on the pairs of its neighborhood."""

import torch
from torch import Tensor

from marl.core.checks import integer
from marl.core.critic import Critic
from marl.core.environment import Environment


class NeuralCritic(Critic):
    """Q_i = w_i . tanh(sum_{j in N_i^kappa} E_ij[z_j] + b_i): one hidden layer on the one-hot pairs of the neighborhood.

    All agents of all replicas are evaluated in one batch. The output starts at zero, like the table.
    Shapes: embedding [B, n, m, Z, hidden] with Z the most pairs of any agent, bias, weight [B, n, hidden].
    """

    def __init__(
        self,
        env: Environment,
        *,
        kappa: int = 0,
        hidden: int = 16,
        replicas: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__(env, kappa=kappa, replicas=replicas, seed=seed, dtype=dtype)
        hidden = integer("critic.hidden", hidden, 1)
        n, width = self.neighborhood.index.shape
        pairs = int(env.index.num_pairs.max())
        self.embedding = self.initial.uniform(n, width, pairs, hidden, bound=width**-0.5)
        self.bias = self.initial.zeros(n, hidden)
        self.weight = self.initial.zeros(n, hidden)
        self._replica = torch.arange(replicas)[:, None, None]
        self._agent = torch.arange(n)[:, None]
        self._position = torch.arange(width)

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        z = self.env.index.pairs(s, a)[:, self.neighborhood.index]
        seen = self.embedding[self._replica, self._agent, self._position, z]
        hidden = torch.tanh((seen * self.neighborhood.mask.unsqueeze(-1)).sum(dim=2) + self.bias)
        return (hidden * self.weight).sum(dim=-1)
