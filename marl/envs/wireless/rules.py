"""Rules that users of a wireless network are known to follow are policies here; nothing in them is learned."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from marl.core.environment import Environment
from marl.core.rule import DeterministicRule, Rule
from marl.envs.per_agent import probabilities
from marl.envs.wireless.env import WirelessAccess
from marl.envs.wireless.limits import dedicated_matching


class Aloha(Rule):
    """This is localized ALOHA (Roberts 1975), the benchmark of the paper's experiments.

    With probability x a user sends its earliest packet, to point y with weight q_y / (users that reach y), else it is
    silent. Where nothing can be sent, silence is certain. It knows the q_y, which the learner does not.
    send_probability: x, one for all replicas or one per replica (which scans a grid of x in one rollout).
    Errors: `ConfigError` if the environment is no `WirelessAccess`.
    """

    system = WirelessAccess
    env: WirelessAccess
    _send: Tensor
    _point: Tensor

    def __init__(self, env: Environment, *, send_probability: float | Sequence[float] = 0.5, **run: Any):
        super().__init__(env, **run)
        x = torch.from_numpy(probabilities("policy.send_probability", send_probability, self.replicas, "replica"))
        self.register_buffer("_send", x.to(self.dtype)[:, None, None], persistent=False)
        self.register_buffer("_point", sending_weights(self.env).to(self.dtype).flatten(0, 1), persistent=False)

    @classmethod
    def choices(cls, env: Environment) -> Mapping[str, Sequence[float]]:
        """The best of 20 send probabilities is the benchmark."""
        return {"send_probability": [k / 20 for k in range(1, 21)]}

    def _weights(self, s: Tensor) -> Tensor:
        chance = self._send * self._point[self._row + s]
        chance[..., 0] = 1.0 - chance.sum(dim=-1)
        return chance.clamp(min=0.0)


class DedicatedMatching(DeterministicRule):
    """This is the fixed schedule that learned policies are measured against: no two users ever send to one point.

    Every access point is given to at most one user, which always sends its earliest packet there; the others are silent.
    The best such matching (see `dedicated_matching`). It knows p and q, which the learner does not.
    Errors: `ConfigError` if the environment is no `WirelessAccess`.
    """

    system = WirelessAccess
    env: WirelessAccess
    _chosen: Tensor

    def __init__(self, env: Environment, **run: Any):
        super().__init__(env, **run)
        self.register_buffer("_chosen", dedicated_actions(self.env).flatten(), persistent=False)

    def _choose(self, s: Tensor) -> Tensor:
        return self._chosen[self._row + s]


def sending_weights(env: WirelessAccess) -> Float[Tensor, "n S A"]:
    """Gives ALOHA's choice when it sends: the earliest packet, point y with weight q_y / (users that reach y).

    Rows sum to 1, or are zero where nothing can be sent (empty queue, or no point with q_y > 0).
    """
    reached_by = torch.bincount(torch.tensor([y for points in env.access for y in points]), minlength=env.num_points)
    weight = torch.cat([env.success / reached_by.clamp(min=1), torch.zeros(1, dtype=torch.float64)])[env.target]
    weights = torch.where(_sends_earliest(env), weight[:, None, :], 0.0)
    return weights / weights.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)


def dedicated_actions(env: WirelessAccess) -> Int64[Tensor, "n S"]:
    """Gives the action of the best dedicated matching: the earliest packet to the user's own point, or silence.

    Silence is action 0: of users without a point, and where nothing can be sent.
    """
    _, owned = dedicated_matching(env)
    point = torch.tensor([owned.get(user, -1) for user in range(env.n)])
    there = _sends_earliest(env) & (env.target == point[:, None])[:, None, :]
    return there.byte().argmax(dim=2)


def _sends_earliest(env: WirelessAccess) -> Bool[Tensor, "n S A"]:
    """Tells whether an action sends the earliest packet of a state."""
    s = torch.arange(env.action_mask.shape[1])
    sends = (env.slot_bit[:, None, :] == (s & -s)[:, None]) | torch.tensor(not env.any_slot)
    return env.action_mask & sends & (s > 0)[:, None]
