"""Every legal action is equally likely."""

from torch import Tensor

from marl.core.policy import Policy


class Uniform(Policy):
    """zeta_i(a | s) = 1 / (number of legal actions in s)."""

    def _logits(self, s: Tensor) -> Tensor:
        return s.new_zeros(*s.shape, self.env.action_mask.shape[2], dtype=self.dtype)
