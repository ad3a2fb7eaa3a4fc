"""A policy of one's own: all agents share one table."""

import torch
from torch import Tensor

from marl import Environment, Policy


class SharedSoftmax(Policy):
    """zeta_i(a | s) proportional to exp(theta[s, a]) over the legal a, the same theta for every agent i."""

    def __init__(self, env: Environment, **run):  # type: ignore[no-untyped-def]
        super().__init__(env, **run)
        states, actions = env.action_mask.shape[1:]
        self.theta = self.initial.zeros(states, actions)
        self.register_buffer("_replica", torch.arange(self.replicas)[:, None], persistent=False)

    def _logits(self, s: Tensor) -> Tensor:
        return self.theta[self._replica, s]
