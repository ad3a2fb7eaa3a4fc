"""The graph network passes messages along the edges for kappa rounds."""

import torch
import torch.nn.functional as F
from torch import Tensor

from marl.core.checks import integer
from marl.core.critic import Critic
from marl.core.environment import FiniteEnvironment
from marl.critics.pooling import OthersSum


class GraphCritic(Critic):
    """Q_i = w . h_i^kappa + v_i after kappa rounds of messages from neighbors, the same weights for every agent i.

    h_i^0 = E[z_i], h_i^{l+1} = tanh(W_l h_i^l + U_l mean_{j in N_i, j != i} h_j^l + b_l), a mean over nobody being 0.
    A round carries one hop, so Q_i sees exactly z_{N_i^kappa}; the cost grows with kappa and with the edges, not with
    |N_i^kappa|. At kappa = 0 it is linear in E. The output starts at zero.
    Shapes: embedding E [B, Z, h] with Z the most pairs of any agent, own W, near U [B, kappa, h, h], bias b [B, kappa, h],
    weight w [B, h], agent v [B, n], h = hidden.
    """

    _start: Tensor
    _share: Tensor

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
        super().__init__(env, kappa=kappa, replicas=replicas, seed=seed, dtype=dtype)
        hidden = integer("critic.hidden", hidden, 1)
        pairs = int(env.index.num_pairs.max())
        self.embedding = self.initial.uniform(pairs, hidden, bound=1.0)
        self.own = self.initial.uniform(self.kappa, hidden, hidden, bound=hidden**-0.5)
        self.near = self.initial.uniform(self.kappa, hidden, hidden, bound=hidden**-0.5)
        self.bias = self.initial.zeros(self.kappa, hidden)
        self.weight = self.initial.zeros(hidden)
        self.agent = self.initial.zeros(env.n)
        self._others = OthersSum(env.network.neighborhood(1))
        share = 1.0 / self._others.count.clamp(min=1)[:, None].to(dtype)
        self.register_buffer("_start", torch.arange(self.replicas)[:, None] * pairs, persistent=False)
        self.register_buffer("_share", share, persistent=False)

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        others, share = self._others, self._share
        h = F.embedding(self._start + self.pair_index.pairs(s, a), self.embedding.flatten(0, 1))
        for own, near, bias in zip(self.own.unbind(1), self.near.unbind(1), self.bias.unbind(1), strict=True):
            mean = others(h) * share
            sent = torch.einsum("...bnh,bhg->...bng", mean, near)
            h = torch.tanh(torch.einsum("...bnh,bhg->...bng", h, own) + sent + bias[:, None])
        return torch.einsum("...bnh,bh->...bn", h, self.weight) + self.agent
