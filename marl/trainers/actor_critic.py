"""What every actor-critic of this library holds: a policy, a critic, their step sizes and optimizers."""

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
        nothing = [torch.nn.Parameter(torch.empty(0))]  # a policy without parameters is evaluated, not improved
        self.critic_optimizer = _optimizer("critic", critic_optimizer, list(critic.parameters()), self.alpha(0))
        self.actor_optimizer = _optimizer("actor", actor_optimizer, list(policy.parameters()) or nothing, self.eta(0))
        critic.check_optimizer(self.critic_optimizer)

    def will_take(self, steps: int) -> tuple[int, int]:
        return 0, self.critic.growth(steps)

    def _differentiate(self, loss: torch.Tensor) -> None:
        """Sets the gradients of all parameters to those of `loss`."""
        self.critic_optimizer.zero_grad()
        self.actor_optimizer.zero_grad()
        loss.backward()

    def _modules(self) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "critic": self.critic,
            "critic_optimizer": self.critic_optimizer,
            "actor_optimizer": self.actor_optimizer,
        }

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


def apply(optimizer: Optimizer, step_size: float) -> None:
    """One step of that size."""
    for group in optimizer.param_groups:
        group["lr"] = step_size
    optimizer.step()


def _move(device: str, policy: Policy, critic: Critic) -> None:
    try:
        where = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ConfigError(f"trainer.device={device!r} cannot be used: {str(error).splitlines()[0]}") from None
    if critic.tabular and where.type != "cpu":
        raise ConfigError(f"a tabular critic lives in main memory; set trainer.device=cpu, got {device!r}")
    policy.to(where)
    critic.to(where)


def _optimizer(name: str, make: Any, parameters: list[torch.nn.Parameter], step_size: float) -> Optimizer:
    key = f"trainer.{name}_optimizer"
    if not callable(make):
        raise ConfigError(f"{key} needs a _target_ and _partial_: true, got {make!r}")
    if "lr" in getattr(make, "keywords", {}):
        raise ConfigError(f"{key}.lr is set by {name}_scheduler in every step; remove it")
    try:
        optimizer = make(parameters, lr=step_size)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {error}") from None
    if not isinstance(optimizer, Optimizer) or isinstance(optimizer, torch.optim.LBFGS):
        raise ConfigError(f"{key} must make a torch optimizer that steps without a closure, got {type(optimizer).__name__}")
    return optimizer
