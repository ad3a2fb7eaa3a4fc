"""A neural critic of one's own: neighbors are pooled, so its size does not grow with the neighborhood."""

import torch
from torch import Tensor

from marl import Critic, Environment


class PooledCritic(Critic):
    """Q_i = w_i . tanh(E_i[z_i] + mean over j in N_i^kappa of F_i[z_j])."""

    def __init__(self, env: Environment, *, hidden: int = 16, **run):  # type: ignore[no-untyped-def]
        super().__init__(env, **run)
        pairs = int(env.index.num_pairs.max())
        self.own = self.initial.uniform(env.n, pairs, hidden, bound=1.0)
        self.pooled = self.initial.uniform(env.n, pairs, hidden, bound=1.0)
        self.weight = self.initial.zeros(env.n, hidden)
        self.register_buffer("_replica", torch.arange(self.replicas)[:, None], persistent=False)
        self.register_buffer("_agent", torch.arange(env.n), persistent=False)

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        z = self.pair_index.pairs(s, a)
        index, mask, size = self.neighborhood
        seen = self.pooled[self._replica[..., None], self._agent[:, None], z[..., index]] * mask.unsqueeze(-1)
        hidden = torch.tanh(self.own[self._replica, self._agent, z] + seen.sum(dim=-2) / size[:, None])
        return (hidden * self.weight).sum(dim=-1)
