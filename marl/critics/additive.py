"""Critics that are linear in what the members of a neighborhood do, one by one or in pairs with the agent itself."""

import torch
from torch import Tensor

from marl.core.critic import Critic
from marl.core.environment import Environment
from marl.core.indexing import positions


class AdditiveCritic(Critic):
    """Q_i = sum_{j in N_i^kappa} w_ij[z_j] / sqrt(|N_i^kappa|): one weight for every pair of every member.

    Linear in one-hot features of norm 1, so a step size means what it means for a table, which it is at kappa = 0. The
    features of agent i span its score, so that at the TD(1) fixed point the gradient of `trainer.gradient=all_actions` is
    that of the true Q_j (compatible features; Sutton et al. 2000).
    Shapes: weight [B, n, m, Z], Z the most pairs of any agent; it starts at zero.
    """

    def __init__(
        self,
        env: Environment,
        *,
        kappa: int = 0,
        replicas: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__(env, kappa=kappa, replicas=replicas, seed=seed, dtype=dtype)
        n, width = self.neighborhood.index.shape
        self._pairs = int(env.index.num_pairs.max())
        self.weight = self.initial.zeros(n, width, self._pairs)
        self._start = torch.arange(width) * self._pairs
        self._scale = self.neighborhood.mask.to(dtype) / self.neighborhood.size[:, None].to(dtype).sqrt()
        self._position = positions(self.neighborhood)

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        z = self.env.index.pairs(s, a)[..., self.neighborhood.index]
        return (pick(self.weight.flatten(2), self._start + z) * self._scale).sum(dim=-1)

    @torch.no_grad()
    def _counterfactual(self, s: Tensor, a: Tensor) -> Tensor:
        near = self.neighborhood.index
        scale = self._scale[near, self._position] * self.neighborhood.mask / self.env.n
        own = (self.weight[:, near, self._position] * scale[..., None]).sum(dim=2)  # [B, n, Z]
        legal = self.env.pair_index.clamp(min=0).flatten(1).expand(self.replicas, -1, -1)
        table = own.gather(2, legal).view(self.replicas, *self.env.action_mask.shape)
        return table[torch.arange(self.replicas)[:, None], torch.arange(self.env.n), s]


class PairwiseCritic(Critic):
    """Q_i = sum_{j in N_i^kappa} w_ij[z_i, z_j] / sqrt(|N_i^kappa|): who meets whom counts, two at a time.

    Linear in one-hot features of norm 1 of the pairs (i, j), (i, i) among them; a table at kappa = 0.
    Shapes: weight [B, n, m, Z, Z], Z the most pairs of any agent; it starts at zero.
    """

    def __init__(
        self,
        env: Environment,
        *,
        kappa: int = 0,
        replicas: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__(env, kappa=kappa, replicas=replicas, seed=seed, dtype=dtype)
        n, width = self.neighborhood.index.shape
        self._pairs = int(env.index.num_pairs.max())
        self.weight = self.initial.zeros(n, width, self._pairs, self._pairs)
        self._start = torch.arange(width) * self._pairs**2
        self._scale = self.neighborhood.mask.to(dtype) / self.neighborhood.size[:, None].to(dtype).sqrt()
        self._position = positions(self.neighborhood)
        self._self = (self.neighborhood.index == torch.arange(n)[:, None]) & self.neighborhood.mask

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        z = self.env.index.pairs(s, a)
        slots = self._start + z[..., None] * self._pairs + z[..., self.neighborhood.index]
        return (pick(self.weight.flatten(2), slots) * self._scale).sum(dim=-1)

    @torch.no_grad()
    def _counterfactual(self, s: Tensor, a: Tensor) -> Tensor:
        near, mask, _ = self.neighborhood
        agents, pairs = self.env.n, self._pairs
        z = self.env.index.pairs(s, a)[..., near, None]  # [*K, B, n, m, 1]
        own = self.env.pair_index[torch.arange(agents), s].clamp(min=0)[..., None, :]  # [*K, B, n, 1, A]
        theirs = ((near * near.shape[1] + self._position)[..., None] * pairs + z) * pairs + own  # w_ji[z_j, own]
        mine = (self._start[:, None] + own * pairs) + torch.where(self._self[..., None], own, z)  # w_ij[own, z_j]
        others = mask & ~self._self
        given = self._scale[near, self._position] * others
        every = pick(self.weight.reshape(self.replicas, 1, -1), theirs.flatten(-3)[..., None, :]).view(theirs.shape)
        value = (every * given[..., None]).sum(dim=-2)
        kept = pick(self.weight.flatten(2), mine.flatten(-2)).view(mine.shape)
        return (value + (kept * self._scale[..., None]).sum(dim=-2)) / agents


def pick(weight: Tensor, slots: Tensor) -> Tensor:
    """weight[b, i, slots[..., b, i, :]]. Shapes: weight [B, n, C], slots [*K, B, n, g] -> [*K, B, n, g]."""
    replicas, agents, _ = weight.shape
    rows = slots.reshape(-1, replicas, agents, slots.shape[-1])
    picked = weight.gather(2, rows.permute(1, 2, 0, 3).reshape(replicas, agents, -1))
    return picked.view(replicas, agents, len(rows), -1).permute(2, 0, 1, 3).reshape(slots.shape)
