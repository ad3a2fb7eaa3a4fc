"""What every actor-critic of this library holds: a policy, a critic, their step sizes and optimizers."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.optim import SGD, Optimizer

from marl.core.checks import number
from marl.core.critic import Critic
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.logger import Logger
from marl.core.policy import Policy
from marl.core.scheduler import Scheduler
from marl.core.trainer import Trainer
from marl.trainers.optimizers import can_wait, is_plain, make


class ActorCritic(Trainer):
    """Base class. Implement `_advance`.

    critic_scheduler, actor_scheduler: alpha_t and eta_t, the learning rates of the two optimizers.
    discount: 1 for the average-reward error r - mu + Q' - Q; below 1 for r + discount Q' - Q.
    critic_optimizer, actor_optimizer: parameters -> torch optimizer; its learning rate is set before each step.
    device: where policy and critic live and learn; the environment and the rollouts stay on the processor.
    Errors: `ConfigError`, also for a device that is not there, or for a tabular critic on any but `cpu`.
    """

    learns_from_q = True
    """Whether the actor climbs the critic's values of actions, which a critic of states alone does not give."""

    def __init__(
        self,
        env: Environment,
        policy: Policy,
        critic: Critic,
        *,
        critic_scheduler: Scheduler,
        actor_scheduler: Scheduler,
        discount: float = 1.0,
        critic_optimizer: Callable[..., Optimizer] = SGD,
        actor_optimizer: Callable[..., Optimizer] = SGD,
        device: str = "cpu",
        seed: int = 0,
        log_every: int = 100,
        loggers: Sequence[Logger] = (),
    ):
        if self.learns_from_q and critic.ignores_actions:
            raise ConfigError(
                f"{type(critic).__name__} does not see actions, so it cannot say which were good; "
                "use it with trainer=independent_ppo, or take another critic"
            )
        _move(device, policy, critic)
        super().__init__(env, policy, seed=seed, log_every=log_every, loggers=loggers)
        self.critic = critic
        self.alpha, self.eta = critic_scheduler, actor_scheduler
        self.discount = number("trainer.discount", discount, 0.0, 1.0)
        if critic.replicas != policy.replicas:
            raise ConfigError(
                f"the policy has {policy.replicas} replicas and the critic {critic.replicas}; give both the same"
            )
        if not can_wait(critic_optimizer):
            self.critic_optimizer = self._make_critic_optimizer(critic_optimizer)
        if not can_wait(actor_optimizer):
            self.actor_optimizer = self._make_actor_optimizer(actor_optimizer)

    @functools.cached_property
    def critic_optimizer(self) -> Optimizer:
        """Plain SGD, if nothing else was asked for, is made when it is needed: torch takes seconds over its first one."""
        return self._make_critic_optimizer(SGD)

    @functools.cached_property
    def actor_optimizer(self) -> Optimizer:
        """See `critic_optimizer`."""
        return self._make_actor_optimizer(SGD)

    def make_optimizers(self) -> None:
        """Both, if they are not made yet, so that no step is said to take that long."""
        _ = self.critic_optimizer, self.actor_optimizer

    def optimizers_with_memory(self) -> dict[str, Optimizer]:
        """name -> optimizer, those that are more than plain SGD: they alone have a state to keep."""
        made = {name: vars(self)[name] for name in ("critic_optimizer", "actor_optimizer") if name in vars(self)}
        return {name: optimizer for name, optimizer in made.items() if not is_plain(optimizer)}

    def _make_critic_optimizer(self, maker: Any) -> Optimizer:
        optimizer = make("critic", maker, list(self.critic.parameters()), self.alpha(0))
        self.critic.check_optimizer(optimizer)
        return optimizer

    def _make_actor_optimizer(self, maker: Any) -> Optimizer:
        nothing = [torch.nn.Parameter(torch.empty(0))]  # a policy without parameters is evaluated, not improved
        return make("actor", maker, list(self.policy.parameters()) or nothing, self.eta(0))

    def will_take(self, steps: int) -> tuple[int, int]:
        return 0, self.critic.growth(steps)

    def _differentiate(self, loss: torch.Tensor) -> None:
        """Sets the gradients of all parameters to those of `loss`."""
        self.critic_optimizer.zero_grad()
        self.actor_optimizer.zero_grad()
        loss.backward()

    def _modules(self) -> dict[str, Any]:
        return {"policy": self.policy, "critic": self.critic, **self.optimizers_with_memory()}

    def _metrics(self) -> dict[str, float | np.ndarray]:
        with torch.no_grad():
            entropy = self.policy.entropy(self.s).mean(dim=1)
        return {
            "critic/mu": self.critic.mu.mean(dim=1).double().cpu().numpy(),
            **{f"critic/{name}": value for name, value in self.critic.metrics().items()},
            "actor/entropy": entropy.double().cpu().numpy(),
            "schedule/alpha": self.alpha(self.t - 1),
            "schedule/eta": self.eta(self.t - 1),
        }


def _move(device: str, policy: Policy, critic: Critic) -> None:
    try:
        where = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ConfigError(f"trainer.device={device!r} cannot be used: {str(error).splitlines()[0]}") from None
    if critic.tabular and where.type != "cpu":
        raise ConfigError(f"a tabular critic lives in main memory; set trainer.device=cpu, got {device!r}")
    policy.to(where)
    critic.to(where)
