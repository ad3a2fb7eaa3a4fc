"""All agents share one network, on the sum of what the members of a neighborhood do."""

from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from marl.core.checks import integer
from marl.core.critic import Critic
from marl.core.environment import FiniteEnvironment
from marl.critics.pooling import OthersSum


class SharedNetwork(Critic):
    """This base class is for Q_i = w . tanh(W tanh(x_i) + c), the same network for every agent i. Implement `_symbols`.

    x_i = own[y_i] + sum_{j in N_i^kappa, j != i} near[y_j] + agent[i] + degree |N_i^kappa| / m, where y_j is a number below
    `count` that says what agent j does and m is the size of the largest neighborhood. The output starts at zero.
    Shapes: own, near [B, count, h], agent [B, n, h], degree, bias c, weight w [B, h], layer W [B, h, h], h = hidden.
    """

    _start: Tensor
    _every: Tensor
    _cell: Tensor
    _size: Tensor

    def __init__(self, env: FiniteEnvironment, count: int, *, hidden: int, **run: Any):
        super().__init__(env, **run)
        hidden = integer("critic.hidden", hidden, 1)
        width = self._neighborhood_index.shape[1]
        self.own = self.initial.uniform(count, hidden, bound=1.0)
        self.near = self.initial.uniform(count, hidden, bound=width**-0.5)
        self.agent = self.initial.uniform(env.n, hidden, bound=1.0)
        self.degree = self.initial.uniform(hidden, bound=1.0)
        self.layer = self.initial.uniform(hidden, hidden, bound=hidden**-0.5)
        self.bias = self.initial.zeros(hidden)
        self.weight = self.initial.zeros(hidden)
        self._others = OthersSum(self.neighborhood)
        every = torch.arange(count)[:, None, None].expand(-1, self.replicas, env.n)
        cell = torch.arange(self.replicas * env.n).view(self.replicas, env.n)
        self.register_buffer("_start", torch.arange(self.replicas)[:, None] * count, persistent=False)
        self.register_buffer("_every", every, persistent=False)
        self.register_buffer("_cell", cell, persistent=False)
        self.register_buffer("_size", self._neighborhood_size[:, None].to(self.dtype) / width, persistent=False)

    @abstractmethod
    def _symbols(self, s: Tensor, a: Tensor) -> Tensor:
        """Returns y_i, what the network sees of agent i's pair. Shapes: s, a [*K, B, n] -> int64 [*K, B, n]."""

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        y = self._symbols(s, a)
        if self.kappa or y.numel() <= self._every.numel():
            return self._network(y)
        cell = self._cell
        return torch.take(self._network(self._every), y * cell.numel() + cell)  # cheaper than every row

    def _network(self, y: Tensor) -> Tensor:
        rows = self._start + y
        x = F.embedding(rows, self.own.flatten(0, 1)) + self.agent + self._size * self.degree[:, None]
        if self.kappa:
            x = x + self._others(F.embedding(rows, self.near.flatten(0, 1)))
        hidden = torch.tanh(torch.einsum("...bnh,bhg->...bng", torch.tanh(x), self.layer) + self.bias[:, None])
        return torch.einsum("...bnh,bh->...bn", hidden, self.weight)


class SharedCritic(SharedNetwork):
    """Q_i(z_{N_i^kappa}) = w . tanh(W tanh(x_i) + c) with y_j = z_j in x_i, see `SharedNetwork`.

    All agents learn one set of weights, so that each learns from the experience of all; agent[i] is what tells them apart.
    Shapes: those of `SharedNetwork`, count = the most pairs of any agent.
    """

    def __init__(
        self,
        env: FiniteEnvironment,
        *,
        kappa: int = 0,
        hidden: int = 32,
        replicas: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        count = int(env.index.num_pairs.max())
        super().__init__(env, count, kappa=kappa, hidden=hidden, replicas=replicas, seed=seed, dtype=dtype)

    def _symbols(self, s: Tensor, a: Tensor) -> Tensor:
        return self.pair_index.pairs(s, a)
