"""All agents share one network."""

import torch
import torch.nn.functional as F
from torch import Tensor

from marl.core.checks import integer
from marl.core.environment import FiniteEnvironment
from marl.core.policy import Policy


class SharedPolicy(Policy):
    """logits_i(s) = V tanh(W tanh(x_i) + c) + d, the same network for every agent i.

    x_i = E[s_i] + agent[i] + degree |N_i| / m with m the largest |N_j|. The output layer starts at zero, so the start is
    uniform over legal actions. All agents learn one set of weights; agent[i] is what tells them apart.
    Shapes: embedding E [B, S, h], agent [B, n, h], degree, bias c [B, h], layer W [B, h, h], weight V [B, h, A],
    shift d [B, A], h = hidden.
    """

    _start: Tensor
    _every: Tensor
    _cell: Tensor
    _size: Tensor

    def __init__(
        self,
        env: FiniteEnvironment,
        *,
        hidden: int = 32,
        replicas: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__(env, replicas=replicas, seed=seed, dtype=dtype)
        hidden = integer("policy.hidden", hidden, 1)
        n, states, actions = env.action_mask.shape
        self.embedding = self.initial.uniform(states, hidden, bound=1.0)
        self.agent = self.initial.uniform(n, hidden, bound=1.0)
        self.degree = self.initial.uniform(hidden, bound=1.0)
        self.layer = self.initial.uniform(hidden, hidden, bound=hidden**-0.5)
        self.bias = self.initial.zeros(hidden)
        self.weight = self.initial.zeros(hidden, actions)
        self.shift = self.initial.zeros(actions)
        size = env.network.neighborhood(1).size[:, None].to(dtype)
        every = torch.arange(states)[:, None, None].expand(-1, self.replicas, n)
        self.register_buffer("_start", torch.arange(self.replicas)[:, None] * states, persistent=False)
        self.register_buffer("_every", every, persistent=False)
        cell = torch.arange(self.replicas * n).view(self.replicas, n)
        self.register_buffer("_cell", cell, persistent=False)
        self.register_buffer("_size", size / size.max(), persistent=False)

    def _logits(self, s: Tensor) -> Tensor:
        every = self._every
        if s.numel() <= every.numel():
            return self._network(s)
        cell, table = self._cell, self._network(every).flatten(0, 2)  # cheaper than every row
        return F.embedding(s * cell.numel() + cell, table)

    def _network(self, s: Tensor) -> Tensor:
        x = F.embedding(self._start + s, self.embedding.flatten(0, 1)) + self.agent + self._size * self.degree[:, None]
        hidden = torch.tanh(torch.einsum("...bnh,bhg->...bng", torch.tanh(x), self.layer) + self.bias[:, None])
        return torch.einsum("...bnh,bha->...bna", hidden, self.weight) + self.shift[:, None]
