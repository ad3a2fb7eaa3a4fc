"""The choice between the two engines of an actor-critic."""

import functools
import logging
from abc import abstractmethod
from typing import Any

from marl.core.checks import choice
from marl.core.critic import Critic
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.policy import Policy
from marl.trainers.actor_critic import ActorCritic
from marl.trainers.fused import FusedEngine, obstacle

ENGINES = ("auto", "autograd", "fused")

log = logging.getLogger(__name__)


class CompiledActorCritic(ActorCritic):
    """Base class. Implement `_step`, the algorithm, and `_compile`, the same compiled; `visits`, if steps visit more pairs.

    engine: `autograd` takes every gradient with torch autograd; `fused` is the same algorithm compiled, for a tabular
    softmax policy, a tabular critic and an environment with a compiled step, equal up to rounding; `auto` is `fused`
    where that is possible.
    """

    postpones_plain_sgd = True  # compiled steps need none
    replaced: tuple[str, ...] = ("_step", "_differentiate")
    """The methods that the compiled engine stands for; a subclass that changes one of them is not compiled."""

    def __init__(self, env: Environment, policy: Policy, critic: Critic, *, engine: str = "auto", **common: Any):
        super().__init__(env, policy, critic, **common)
        critic.visit(self.s, self.a)
        self.engine = self._choose_engine(choice("trainer.engine", engine, ENGINES))
        if self.engine == "autograd":  # now, so that no step is said to take that long
            _ = self.critic_optimizer, self.actor_optimizer

    def visits(self, end: int) -> int:
        """How many pairs are visited from step t, whose own has been, to step `end`."""
        return end - self.t

    def memory_ahead(self, steps: int) -> tuple[int, int]:
        if self.engine != "fused":
            return 0, self.critic.growth(self.visits(self.t + steps))
        return self._fused.workspace, self.critic.growth(self.visits(self._fused.room_until(self.t + steps - 1)))

    def _advance(self, steps: int) -> None:
        if self.engine == "fused":
            self._fused.advance(self, steps)
            return
        for _ in range(steps):
            self._step()

    @abstractmethod
    def _step(self) -> None:
        """One environment step, with whatever is learned from it."""

    @abstractmethod
    def _compile(self) -> FusedEngine:
        """The compiled engine for this trainer."""

    @functools.cached_property
    def _fused(self) -> FusedEngine:
        return self._compile()

    def __getstate__(self) -> dict[str, Any]:
        """Without the compiled engine, which is made anew when it is needed."""
        return {name: value for name, value in vars(self).items() if name != "_fused"}

    def _choose_engine(self, engine: str) -> str:
        if engine == "autograd":
            return engine
        owner = next(cls for cls in type(self).__mro__ if "_compile" in vars(cls))
        own = any(getattr(type(self), name) is not getattr(owner, name) for name in self.replaced)
        reason = f"{type(self).__name__} has a step of its own" if own else obstacle(self)
        if engine == "fused" and reason is not None:
            raise ConfigError(f"trainer.engine=fused cannot run this: {reason}; use auto or autograd")
        if engine == "auto":
            log.info("engine: %s", "fused" if reason is None else f"autograd, because {reason}")
        return "fused" if reason is None else "autograd"
