"""These actor-critics learn once per rollout."""

from abc import abstractmethod
from typing import Any

from torch import Tensor

from marl.core.checks import integer
from marl.core.critic import Critic
from marl.core.environment import Environment
from marl.core.policy import Policy
from marl.trainers.actor_critic import ActorCritic
from marl.trainers.buffer import RolloutBuffer
from marl.trainers.rollout import Collector, Rollout


class BatchedActorCritic(ActorCritic):
    """This base class fills a rollout of `rollout` steps under one policy, then learns from it: implement `_update`.

    A rollout that is being filled is part of the state, so a run may stop anywhere in it.
    """

    def __init__(self, env: Environment, policy: Policy, critic: Critic, *, rollout: int, **common: Any):
        super().__init__(env, policy, critic, **common)
        self.buffer = RolloutBuffer(integer("trainer.rollout", rollout, 1), len(self.s), env.n)

    @abstractmethod
    def _update(self, rollout: Rollout) -> None:
        """Learns from a full rollout, whose last pair is the present one."""

    def _advance(self, steps: int) -> None:
        end, collect = self.t + steps, Collector(self.env, self.policy, self.copies)
        while self.t < end:
            take = min(end - self.t, self.buffer.missing, collect.longest)
            piece = collect(self.noise, self.s, self.a, self.t, take)
            self.buffer.add(piece)
            self.interval.add(self._by_copy(piece.r).mean(dim=1))
            self.t += take
            self.s, self.a = piece.s[-1], piece.a[-1]
            if not self.buffer.missing:
                self._update(self.buffer.rollout)
                self.buffer.filled = 0

    def _by_copy(self, x: Tensor) -> Tensor:
        """Gives copies an axis of their own. Shapes: [K, copies * B, n] -> [K, copies, B, n]."""
        return x.unflatten(1, (self.copies, self.replicas))

    def _modules(self) -> dict[str, Any]:
        return {**super()._modules(), "rollout": self.buffer}
