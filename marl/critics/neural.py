"""The neural critic is a small network per agent on the pairs of its neighborhood."""

import torch
import torch.nn.functional as F
from torch import Tensor

from marl.core.checks import integer
from marl.core.critic import CounterfactualCritic
from marl.core.environment import FiniteEnvironment
from marl.core.lookup import summed_rows
from marl.critics.pooling import positions


class NeuralCritic(CounterfactualCritic):
    """Q_i = w_i . tanh(sum_{j in N_i^kappa} E_ij[z_j] + b_i): one hidden layer on the one-hot pairs of the neighborhood.

    All agents of all replicas are evaluated in one batch. The output starts at zero, like the table.
    Shapes: embedding [B, n, m, Z, hidden] with Z the most pairs of any agent, bias, weight [B, n, hidden].
    """

    _start: Tensor
    _mask: Tensor
    _position: Tensor

    def __init__(
        self,
        env: FiniteEnvironment,
        *,
        kappa: int = 0,
        hidden: int = 16,
        replicas: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__(env, kappa=kappa, replicas=replicas, seed=seed, dtype=dtype)
        hidden = integer("critic.hidden", hidden, 1)
        n, width = self._neighborhood_index.shape
        pairs = int(env.index.num_pairs.max())
        self.embedding = self.initial.uniform(n, width, pairs, hidden, bound=width**-0.5)
        self.bias = self.initial.zeros(n, hidden)
        self.weight = self.initial.zeros(n, hidden)
        start = torch.arange(self.replicas * n * width).view(self.replicas, n, width) * pairs
        self.register_buffer("_start", start, persistent=False)
        self.register_buffer("_mask", self._neighborhood_mask.to(dtype), persistent=False)
        self.register_buffer("_position", positions(self.neighborhood), persistent=False)

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        return (torch.tanh(self._inputs(s, a)) * self.weight).sum(dim=-1)

    @torch.no_grad()
    def _counterfactual(self, s: Tensor, a: Tensor) -> Tensor:
        near, mask, _ = self.neighborhood
        inputs = self._inputs(s, a)[..., near, :]  # those of j, at i's neighbor j: [*K, B, n, m, hidden]
        start = self._start[:, near, self._position]
        taken = self._embedded(start + self.pair_index.pairs(s, a)[..., None])
        legal = self.pair_index.choices(s).clamp(min=0)
        value = self.weight.new_zeros(legal.shape)
        for action in range(legal.shape[-1]):
            other = self._embedded(start + legal[..., action, None])
            q = (torch.tanh(inputs + other - taken) * self.weight[:, near]).sum(dim=-1)
            value[..., action] = (q * mask).sum(dim=-1) / self.env.n
        return value

    def _inputs(self, s: Tensor, a: Tensor) -> Tensor:
        z, embedding = self.pair_index.pairs(s, a)[..., self._neighborhood_index], self.embedding
        return summed_rows(embedding.view(-1, embedding.shape[-1]), self._start + z, self._mask) + self.bias

    def _embedded(self, rows: Tensor) -> Tensor:
        return F.embedding(rows, self.embedding.view(-1, self.embedding.shape[-1]))
