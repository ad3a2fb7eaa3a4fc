"""The graph network passes messages along the edges for kappa rounds."""

from abc import abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from marl.core.checks import integer
from marl.core.critic import Critic
from marl.core.environment import FiniteEnvironment
from marl.critics.pooling import OthersSum


class GraphNetwork(Critic):
    """This base class is for Q_i = w . h_i^kappa + v_i, the same weights for every agent i. Implement `_symbols`.

    Neighbors send messages for kappa rounds: h_i^0 = E[y_i], where y_i is a number below `count` that says what agent i
    does, and h_i^{l+1} = tanh(W_l h_i^l + U_l mean_{j in N_i, j != i} h_j^l + b_l), a mean over nobody being 0.
    A round carries one hop, so Q_i sees exactly z_{N_i^kappa}; the cost grows with kappa and with the edges, not with
    |N_i^kappa|. At kappa = 0 it is linear in E. The output starts at zero.
    Shapes: embedding E [B, count, h], own W, near U [B, kappa, h, h], bias b [B, kappa, h], weight w [B, h],
    agent v [B, n], h = hidden.
    """

    _start: Tensor
    _share: Tensor

    def __init__(self, env: FiniteEnvironment, count: int, *, hidden: int, **run: Any):
        super().__init__(env, **run)
        hidden = integer("critic.hidden", hidden, 1)
        self.embedding = self.initial.uniform(count, hidden, bound=1.0)
        self.own = self.initial.uniform(self.kappa, hidden, hidden, bound=hidden**-0.5)
        self.near = self.initial.uniform(self.kappa, hidden, hidden, bound=hidden**-0.5)
        self.bias = self.initial.zeros(self.kappa, hidden)
        self.weight = self.initial.zeros(hidden)
        self.agent = self.initial.zeros(env.n)
        self._others = OthersSum(env.network.neighborhood(1))
        share = 1.0 / self._others.count.clamp(min=1)[:, None].to(self.dtype)
        self.register_buffer("_start", torch.arange(self.replicas)[:, None] * count, persistent=False)
        self.register_buffer("_share", share, persistent=False)

    @abstractmethod
    def _symbols(self, s: Tensor, a: Tensor) -> Tensor:
        """Returns y_i, what the network sees of agent i's pair. Shapes: s, a [*K, B, n] -> int64 [*K, B, n]."""

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        others, share = self._others, self._share
        h = F.embedding(self._start + self._symbols(s, a), self.embedding.flatten(0, 1))
        for own, near, bias in zip(self.own.unbind(1), self.near.unbind(1), self.bias.unbind(1), strict=True):
            mean = others(h) * share
            sent = torch.einsum("...bnh,bhg->...bng", mean, near)
            h = torch.tanh(torch.einsum("...bnh,bhg->...bng", h, own) + sent + bias[:, None])
        return torch.einsum("...bnh,bh->...bn", h, self.weight) + self.agent


class GraphCritic(GraphNetwork):
    """Q_i = w . h_i^kappa + v_i after kappa rounds of messages from neighbors, y_j = z_j in h_j^0, see `GraphNetwork`.

    Shapes: those of `GraphNetwork`, count = the most pairs of any agent.
    """

    def __init__(self, env: FiniteEnvironment, *, hidden: int = 32, **run: Any):
        super().__init__(env, int(env.index.num_pairs.max()), hidden=hidden, **run)

    def _symbols(self, s: Tensor, a: Tensor) -> Tensor:
        return self.pair_index.pairs(s, a)
