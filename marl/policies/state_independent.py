"""This softmax policy does not look at the state."""

import math

import torch
from torch import Tensor

from marl.core.environment import FiniteEnvironment
from marl.core.policy import Policy


class StateIndependentSoftmax(Policy):
    """zeta_i(a) is proportional to exp(theta_i[a]) over the legal a; theta(0) = 0, so the start is uniform.

    The policies of appendix A.2 (k-coloring). Where s_i makes actions illegal, those are left out.
    Shapes: parameter `theta` [B, n, A].
    """

    score_bound = math.sqrt(2.0)

    def __init__(self, env: FiniteEnvironment, *, replicas: int = 1, seed: int = 0, dtype: torch.dtype = torch.float64):
        super().__init__(env, replicas=replicas, seed=seed, dtype=dtype)
        self.theta = self.initial.zeros(env.n, env.action_mask.shape[2])

    def _logits(self, s: Tensor) -> Tensor:
        return self.theta.expand(*s.shape, -1)
