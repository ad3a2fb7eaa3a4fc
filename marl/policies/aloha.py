"""Localized ALOHA (Roberts 1975), the benchmark of the paper's experiments."""

from collections.abc import Sequence

import torch
from torch import Tensor

from marl.core.checks import probabilities
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.policy import Policy


class Aloha(Policy):
    """With probability x send the earliest packet to point y with weight q_y / (users that reach y), else be silent.

    send_probability: x, one for all replicas or one per replica (which scans a grid of x in one rollout).
    Where nothing can be sent, silence is certain. It knows the q_y, which the learner does not.
    Errors: `ConfigError` if the environment has no `sending_weights`.
    """

    _send: Tensor
    _weights: Tensor

    def __init__(
        self,
        env: Environment,
        *,
        send_probability: float | Sequence[float] = 0.5,
        replicas: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__(env, replicas=replicas, seed=seed, dtype=dtype)
        if not hasattr(env, "sending_weights"):
            raise ConfigError(f"policy=aloha needs access points to send to (env=wireless); {type(env).__name__} has none")
        x = torch.from_numpy(probabilities("policy.send_probability", send_probability, replicas, "replica"))
        self.register_buffer("_send", x.to(dtype)[:, None, None], persistent=False)
        self.register_buffer("_weights", env.sending_weights().to(dtype).flatten(0, 1), persistent=False)

    def _logits(self, s: Tensor) -> Tensor:
        chance = self._send * self._weights[self._row + s]
        chance[..., 0] = 1.0 - chance.sum(dim=-1)
        return chance.clamp(min=0.0).log()
