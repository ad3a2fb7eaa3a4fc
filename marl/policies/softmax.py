"""The tabular softmax is the policy of the paper's experiments."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from marl.core.environment import FiniteEnvironment
from marl.core.policy import NaturalGradientPolicy
from marl.core.shapes import States


class TabularSoftmax(NaturalGradientPolicy):
    """zeta_i(a | s) is proportional to exp(theta_i[s, a]) over the legal a; theta(0) = 0, so the start is uniform.

    Shapes: parameter `theta` [B, n, S, A].
    """

    score_bound = math.sqrt(2.0)
    _rows: Tensor

    def __init__(self, env: FiniteEnvironment, *, replicas: int = 1, seed: int = 0, dtype: torch.dtype = torch.float64):
        super().__init__(env, replicas=replicas, seed=seed, dtype=dtype)
        self.theta = self.initial.zeros(*env.action_mask.shape)
        states = env.action_mask.shape[1]
        rows = torch.arange(self.replicas * env.n).reshape(self.replicas, env.n) * states
        self.register_buffer("_rows", rows, persistent=False)

    def fused(self) -> Any:
        """Returns the table as compiled loops know it, see `marl.kernels.softmax_table`; None if it is frozen."""
        if not self.theta.requires_grad:
            return None
        from marl.kernels.softmax_table import SoftmaxTable  # numba takes its time: only where it is used

        return SoftmaxTable(self.theta.detach().numpy(), self.env.action_mask.numpy())

    def linear(self) -> Any:
        """Returns the table as compiled loops learn it in batches, see `marl.kernels.own_softmax`."""
        from marl.kernels.own_softmax import OwnLogits  # numba takes its time: only where it is used

        return OwnLogits(self.theta.detach().numpy(), self.env.action_mask.numpy())

    @torch.no_grad()
    def natural_gradient(self, s: States, damping: float) -> None:
        """theta.grad <- (d diag(zeta) - d zeta zeta^T + damping I)^-1 theta.grad for every agent and state s_i.

        d(s_i): the share of the rollout that agent i spent in s_i. By the formula of Sherman and Morrison, with
        D = d zeta + damping and x = grad / D: x + d (zeta . x) zeta / D / sum_a(zeta damping / D). At damping 0 and where
        grad = d diag(zeta)(A - zeta . A), that is A up to a constant (Kakade 2001).
        """
        if self.theta.grad is None:
            return
        visited = F.one_hot(s.to(self.theta.device), self.theta.shape[2])
        share = visited.to(self.dtype).mean(dim=0)[..., None]  # d [B, n, S, 1]
        zeta = self.probability_table()
        scale = share * zeta + damping
        x = self.theta.grad / scale
        along = (zeta * x).sum(dim=-1, keepdim=True) / (zeta / scale).sum(dim=-1, keepdim=True)
        real = zeta.sum(dim=-1, keepdim=True) > 0
        self.theta.grad = torch.where(real, x + share * along * zeta / (scale * damping), x)

    def _logits(self, s: Tensor) -> Tensor:
        theta = self.theta
        return F.embedding(self._rows + s, theta.view(-1, theta.shape[-1]))
