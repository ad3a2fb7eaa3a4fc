"""Policies zeta_i(a_i | s_{N_i^kappa_p}): every agent sees the states of those around it, as it would over a local link."""

import torch
from torch import Tensor

from marl.core.checks import integer
from marl.core.environment import Environment
from marl.core.fused import FusedNeighborhoodSoftmax
from marl.core.lookup import summed_rows
from marl.core.policy import Policy


class NeighborhoodSoftmax(Policy):
    """Logits sum_{j in N_i^kappa_p} theta_ij[s_i, s_j, a] / sqrt(|N_i^kappa_p|) over the legal a; theta(0) = 0.

    kappa: the hops kappa_p that agents see. At 0 it is the tabular softmax policy, theta_ii[s_i, s_i, a] being its table.
    Shapes: parameter `theta` [B, n, m, S, S, A].
    """

    localized = False

    def __init__(
        self,
        env: Environment,
        *,
        kappa: int = 1,
        replicas: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__(env, replicas=replicas, seed=seed, dtype=dtype)
        self.neighborhood = env.network.neighborhood(integer("policy.kappa", kappa, 0))
        n, width = self.neighborhood.index.shape
        states, actions = env.action_mask.shape[1:]
        self.theta = self.initial.zeros(n, width, states, states, actions)
        self._start = torch.arange(replicas * n * width).view(replicas, n, width) * states**2
        self._scale = self.neighborhood.mask.to(dtype) / self.neighborhood.size[:, None].to(dtype).sqrt()

    def neighborhood_table(self) -> FusedNeighborhoodSoftmax:
        index, _, size = self.neighborhood
        return FusedNeighborhoodSoftmax(index, size, self.theta.detach() * self._scale[..., None, None, None])

    def _logits(self, s: Tensor) -> Tensor:
        states, actions = self.theta.shape[-2:]
        rows = self._start + s[..., None] * states + s[..., self.neighborhood.index]
        return summed_rows(self.theta.view(-1, actions), rows, self._scale)


class NeighborhoodNeural(Policy):
    """Logits W_i tanh(sum_{j in N_i^kappa_p} E_ij[s_j]) + b_i: one hidden layer per agent on the states that it sees.

    The output layer starts at zero, so the start is uniform over legal actions.
    Shapes: embedding [B, n, m, S, hidden], weight [B, n, hidden, A], bias [B, n, A].
    """

    localized = False

    def __init__(
        self,
        env: Environment,
        *,
        kappa: int = 1,
        hidden: int = 16,
        replicas: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__(env, replicas=replicas, seed=seed, dtype=dtype)
        self.neighborhood = env.network.neighborhood(integer("policy.kappa", kappa, 0))
        hidden = integer("policy.hidden", hidden, 1)
        n, width = self.neighborhood.index.shape
        states, actions = env.action_mask.shape[1:]
        self.embedding = self.initial.uniform(n, width, states, hidden, bound=1.0)
        self.weight = self.initial.zeros(n, hidden, actions)
        self.bias = self.initial.zeros(n, actions)
        self._start = torch.arange(replicas * n * width).view(replicas, n, width) * states
        self._mask = self.neighborhood.mask.to(dtype)

    def _logits(self, s: Tensor) -> Tensor:
        rows = self._start + s[..., self.neighborhood.index]
        seen = summed_rows(self.embedding.view(-1, self.embedding.shape[-1]), rows, self._mask)
        return torch.einsum("...bnh,bnha->...bna", torch.tanh(seen), self.weight) + self.bias
