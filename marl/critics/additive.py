"""These critics are linear in what the members of a neighborhood do, one by one or in pairs with the agent itself."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from marl.core.critic import CounterfactualCritic
from marl.core.environment import FiniteEnvironment
from marl.core.lookup import summed_rows
from marl.critics.pooling import positions


class MemberSum(CounterfactualCritic):
    """This base class is for sums of weights, one from each member of the neighborhood, divided by sqrt(|N_i^kappa|).

    order: how many pairs number a weight, set by the subclass.
    Shapes: weight [B, n, m, Z, ...], `order` axes Z, the most pairs of any agent; it starts at zero.
    """

    order: ClassVar[int]
    _start: Tensor
    _scale: Tensor
    _position: Tensor

    def __init__(self, env: FiniteEnvironment, **run: Any):
        super().__init__(env, **run)
        index, mask, size = self.neighborhood
        self._pairs = int(env.index.num_pairs.max())
        self.weight = self.initial.zeros(*index.shape, *[self._pairs] * self.order)
        start = torch.arange(self.replicas * index.numel()).view(self.replicas, *index.shape) * self._pairs
        scale = mask.to(self.dtype) / size[:, None].to(self.dtype).sqrt()
        self.register_buffer("_start", start, persistent=False)
        self.register_buffer("_scale", scale, persistent=False)
        self.register_buffer("_position", positions(self.neighborhood), persistent=False)

    def _form(self, kind: Any) -> Any:
        index, _, size = (x.numpy() for x in self.neighborhood)
        scale = self._scale[:, 0].contiguous().numpy()
        return kind(self.weight.detach().numpy(), index, size, scale, self._position.numpy())


class AdditiveCritic(MemberSum):
    """Q_i = sum_{j in N_i^kappa} w_ij[z_j] / sqrt(|N_i^kappa|): one weight for every pair of every member.

    Linear in one-hot features of norm 1, so a step size means what it means for a table, which it is at kappa = 0. The
    features of agent i span its score, so that at the TD(1) fixed point the gradient of `trainer.gradient=all_actions` is
    that of the true Q_j (compatible features; Sutton et al. 2000).
    Shapes: weight [B, n, m, Z], Z the most pairs of any agent; it starts at zero.
    """

    order = 1

    def linear(self) -> Any:
        """Returns the weights as compiled loops learn them, see `marl.kernels.member_sums`."""
        from marl.kernels.member_sums import Additive  # numba takes its time: only where it is used

        return self._form(Additive)

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        z = self.pair_index.pairs(s, a)[..., self._neighborhood_index]
        return summed_rows(self.weight.view(-1, 1), self._start + z, self._scale).squeeze(-1)

    @torch.no_grad()
    def _counterfactual(self, s: Tensor, a: Tensor) -> Tensor:
        (near, mask, _), position = self.neighborhood, self._position
        scale = self._scale[near, position] * mask / self.env.n
        own = (self.weight[:, near, position] * scale[..., None]).sum(dim=2)  # [B, n, Z]
        return own.expand(*s.shape, -1).gather(-1, self.pair_index.choices(s).clamp(min=0))


class PairwiseCritic(MemberSum):
    """Q_i = sum_{j in N_i^kappa} w_ij[z_i, z_j] / sqrt(|N_i^kappa|): who meets whom counts, two at a time.

    Linear in one-hot features of norm 1 of the pairs (i, j), (i, i) among them; a table at kappa = 0.
    Shapes: weight [B, n, m, Z, Z], Z the most pairs of any agent; it starts at zero.
    """

    order = 2
    _own: Tensor
    _others: Tensor

    def __init__(self, env: FiniteEnvironment, **run: Any):
        super().__init__(env, **run)
        index, mask, _ = self.neighborhood
        itself = (index == torch.arange(env.n)[:, None]) & mask
        self.register_buffer("_own", itself.long().argmax(dim=1), persistent=False)
        self.register_buffer("_others", self._scale.masked_fill(itself, 0.0), persistent=False)

    def linear(self) -> Any:
        """Returns the weights as compiled loops learn them, see `marl.kernels.member_sums`."""
        from marl.kernels.member_sums import Pairwise  # numba takes its time: only where it is used

        return self._form(Pairwise)

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        z = self.pair_index.pairs(s, a)
        rows = (self._start + z[..., None]) * self._pairs + z[..., self._neighborhood_index]
        return summed_rows(self.weight.view(-1, 1), rows, self._scale).squeeze(-1)

    @torch.no_grad()
    def _counterfactual(self, s: Tensor, a: Tensor) -> Tensor:
        (near, mask, _), agents = self.neighborhood, torch.arange(self.env.n, device=s.device)
        weight, start, position, itself, others = self.weight, self._start, self._position, self._own, self._others
        z = self.pair_index.pairs(s, a)[..., near]  # of every neighbor j
        own = self.pair_index.choices(s).clamp(min=0)
        seen = others[near, position] * mask  # the scale of w_ji
        shown = summed_rows(weight.view(-1, self._pairs), start[:, near, position] + z, seen)  # w_ji[z_j, .]
        shown = shown + weight[:, agents, itself].diagonal(dim1=-2, dim2=-1) * self._scale[agents, itself, None]
        rows = start[..., None, :] + own[..., None]  # w_ij[x, .] for every choice x: [*K, B, n, A, m]
        felt = (weight.view(-1).take(rows * self._pairs + z[..., None, :]) * others[:, None, :]).sum(dim=-1)
        return (shown.gather(-1, own) + felt) / self.env.n
