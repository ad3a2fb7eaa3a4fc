"""The tabular softmax policy of the paper's experiments."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from marl.core.environment import Environment
from marl.core.fused import FusedSoftmax
from marl.core.policy import Policy


class TabularSoftmax(Policy):
    """zeta_i(a | s) proportional to exp(theta_i[s, a]) over the legal a; theta(0) = 0, so the start is uniform.

    Shapes: parameter `theta` [B, n, S, A].
    """

    score_bound = math.sqrt(2.0)

    def __init__(self, env: Environment, *, replicas: int = 1, seed: int = 0, dtype: torch.dtype = torch.float64):
        super().__init__(env, replicas=replicas, seed=seed, dtype=dtype)
        self.theta = self.initial.zeros(*env.action_mask.shape)
        states = env.action_mask.shape[1]
        self._rows = torch.arange(replicas * env.n).reshape(replicas, env.n) * states

    def fused(self) -> FusedSoftmax | None:
        return FusedSoftmax(self.theta.detach()) if self.theta.requires_grad else None

    def _logits(self, s: Tensor) -> Tensor:
        return F.embedding(self._rows + s, self.theta.view(-1, self.theta.shape[-1]))
