"""The fixed schedule that learned policies are measured against."""

import torch
from torch import Tensor

from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.policy import Policy


class DedicatedMatching(Policy):
    """Every access point is given to at most one user, which always sends its earliest packet there; the others are silent.

    The best such matching (see `WirelessAccess.dedicated_actions`). It knows p and q, which the learner does not, and
    nothing in it is learned.
    Errors: `ConfigError` if the environment has no `dedicated_actions`.
    """

    _chosen: Tensor

    def __init__(self, env: Environment, *, replicas: int = 1, seed: int = 0, dtype: torch.dtype = torch.float64):
        super().__init__(env, replicas=replicas, seed=seed, dtype=dtype)
        if not hasattr(env, "dedicated_actions"):
            raise ConfigError(
                f"policy=dedicated needs access points to send to (env=wireless); {type(env).__name__} has none"
            )
        chosen = torch.zeros(env.action_mask.shape, dtype=dtype).scatter_(2, env.dedicated_actions()[..., None], 1.0)
        self.register_buffer("_chosen", chosen.log().flatten(0, 1), persistent=False)

    def _logits(self, s: Tensor) -> Tensor:
        return self._chosen[self._row + s]
