"""An actor-critic chooses between its two engines here."""

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
from marl.trainers.fused_engine import FusedEngine
from marl.trainers.fusible import changed, not_declared, obstacle

ENGINES = ("auto", "autograd", "fused")

log = logging.getLogger(__name__)


def chosen_engine(engine: str, reason: str | None) -> str:
    """Returns the engine that is used where `engine` is asked for; reason: why it cannot be `fused`, or None.

    Errors: `ConfigError` if it must be and cannot.
    """
    if choice("trainer.engine", engine, ENGINES) == "fused" and reason is not None:
        raise ConfigError(f"trainer.engine=fused cannot run this: {reason}; use auto or autograd")
    if engine == "auto":
        log.info("engine: %s", "fused" if reason is None else f"autograd, because {reason}")
    return "fused" if reason is None and engine != "autograd" else "autograd"


class TwoEngineActorCritic(ActorCritic):
    """This base class has two engines: implement `_step`, the algorithm, and `fused`, the same compiled.

    engine: `autograd` takes every gradient with torch autograd; `fused` is the same algorithm compiled, for policies,
    critics and environments that can be fused, equal up to rounding; `auto` is `fused` where that is possible. A class that
    derives from a trainer with `fused` and does not define its own is not compiled.
    """

    postpones_plain_sgd = True  # fused steps need none

    def __init__(self, env: Environment, policy: Policy, critic: Critic, *, engine: str = "auto", **common: Any):
        super().__init__(env, policy, critic, **common)
        self._visit(self.s, self.a)
        self.engine = self._choose_engine(choice("trainer.engine", engine, ENGINES))
        if self.engine == "autograd":  # now, so that no step is said to take that long
            _ = self.critic_optimizer, self.actor_optimizer

    def memory_ahead(self, steps: int) -> tuple[int, int]:
        if self.engine != "fused":
            return 0, self._growth(self.visits(self.t + steps))
        return self._fused.workspace, self._growth(self.visits(self._fused.room_until(self.t + steps - 1)))

    @abstractmethod
    def fused(self) -> FusedEngine:
        """Returns the same algorithm compiled, for this trainer."""

    def _advance(self, steps: int) -> None:
        if self.engine == "fused":
            if reason := self._changed():
                raise ConfigError(f"trainer.engine=fused cannot go on: {reason}; make the trainer with engine=autograd")
            self._fused.advance(self, steps)
            return
        for _ in range(steps):
            self._step()

    @abstractmethod
    def _step(self) -> None:
        """Takes one environment step, and learns whatever is learned from it."""

    @functools.cached_property
    def _fused(self) -> FusedEngine:
        return self.fused()

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the fused engine, which is made anew when it is needed."""
        return {name: value for name, value in vars(self).items() if name != "_fused"}

    def _choose_engine(self, engine: str) -> str:
        if engine == "autograd":
            return engine
        parts = self.policy, self.critic, self.env
        return chosen_engine(engine, not_declared(self) or self._changed() or obstacle(*parts))

    def _changed(self) -> str | None:
        """Says what was done to an object of this run that only the autograd engine would notice, or None."""
        parts = self, self.policy, self.critic, self.env, *self.made_optimizers().values()
        return next((reason for part in parts if (reason := changed(part))), None)
