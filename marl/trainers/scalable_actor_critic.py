"""Scalable Actor-Critic: Algorithm 1 of Qu, Lin, Wierman and Li (NeurIPS 2020)."""

import functools
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch.optim import SGD, Optimizer

from marl.core.checks import boolean, choice, number
from marl.core.critic import Critic, Transition
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.logger import Logger
from marl.core.policy import Policy
from marl.core.scheduler import Scheduler
from marl.core.trainer import Trainer
from marl.trainers.fused import FusedEngine, obstacle

ENGINES = ("auto", "autograd", "fused")

log = logging.getLogger(__name__)


class ScalableActorCritic(Trainer):
    """One trajectory, never reset; every agent learns from its kappa-hop neighborhood.

    critic_scheduler, actor_scheduler: alpha_t of lines 5-6 and eta_t of line 8.
    rescale: Gamma = 1 / (1 + max_j ||Q_j||_inf) of line 8 if true, 1 if false (as in the paper's experiments).
    discount: 1 for the average-reward error of line 6; below 1 for r + discount Q' - Q, on the same trajectory.
    engine: `autograd` takes every gradient with torch autograd; `fused` is the same algorithm compiled, for a tabular
    softmax policy, a tabular critic and an environment with a compiled step, equal up to rounding; `auto` is `fused`
    where that is possible.
    critic_optimizer, actor_optimizer: parameters -> torch optimizer; its learning rate is set to alpha_t, eta_t before
    each step. Plain SGD is Algorithm 1.
    """

    def __init__(
        self,
        env: Environment,
        policy: Policy,
        critic: Critic,
        *,
        critic_scheduler: Scheduler,
        actor_scheduler: Scheduler,
        rescale: bool = False,
        discount: float = 1.0,
        engine: str = "auto",
        critic_optimizer: Callable[..., Optimizer] = SGD,
        actor_optimizer: Callable[..., Optimizer] = SGD,
        seed: int = 0,
        log_every: int = 100,
        loggers: Sequence[Logger] = (),
    ):
        super().__init__(env, policy, seed=seed, log_every=log_every, loggers=loggers)
        self.critic = critic
        self.alpha, self.eta = critic_scheduler, actor_scheduler
        self.rescale = boolean("trainer.rescale", rescale)
        self.discount = number("trainer.discount", discount, 0.0, 1.0)
        if critic.replicas != policy.replicas:
            raise ConfigError(
                f"the policy has {policy.replicas} replicas and the critic {critic.replicas}; give both the same"
            )
        critic.track_sup_norm(self.rescale)
        nothing = [torch.nn.Parameter(torch.empty(0))]  # a policy without parameters is evaluated, not improved
        self.critic_optimizer = _optimizer("critic", critic_optimizer, list(critic.parameters()), self.alpha(0))
        self.actor_optimizer = _optimizer("actor", actor_optimizer, list(policy.parameters()) or nothing, self.eta(0))
        critic.check_optimizer(self.critic_optimizer)
        critic.visit(self.s, self.a)
        self.engine = self._choose_engine(choice("trainer.engine", engine, ENGINES))

    def will_take(self, steps: int) -> tuple[int, int]:
        if self.engine != "fused":
            return 0, self.critic.growth(steps)
        return self._fused.workspace, self.critic.growth(self._fused.room_until(self.t + steps - 1) - self.t)

    def _advance(self, steps: int) -> None:
        if self.engine == "fused":
            self._fused.advance(self, steps)
            return
        for _ in range(steps):
            self._step()

    @functools.cached_property
    def _fused(self) -> FusedEngine:
        return FusedEngine(self)

    def __getstate__(self) -> dict[str, Any]:
        """Without the compiled engine, which is made anew when it is needed."""
        return {name: value for name, value in vars(self).items() if name != "_fused"}

    def _choose_engine(self, engine: str) -> str:
        if engine == "autograd":
            return engine
        own = type(self)._step is not ScalableActorCritic._step
        reason = f"{type(self).__name__} has a step of its own" if own else obstacle(self)
        if engine == "fused" and reason is not None:
            raise ConfigError(f"trainer.engine=fused cannot run this: {reason}; use auto or autograd")
        if engine == "auto":
            log.info("engine: %s", "fused" if reason is None else f"autograd, because {reason}")
        return "fused" if reason is None else "autograd"

    def _step(self) -> None:
        policy, critic, s, a = self.policy, self.critic, self.s, self.a
        alpha, eta = self.alpha(self.t), self.eta(self.t)
        u = self.noise(self.t + 1)
        next_s, r = self.env.step(s, a, u[..., :-1])  # line 3, first half of 4
        next_a = policy.sample(next_s, u[..., -1])  # line 4: a(t+1) from theta(t)
        critic.visit(next_s, next_a)
        step = Transition(s, a, r.to(critic.dtype), next_s, next_a, self.discount)

        q = critic.q(s, a)  # Q^t(z(t)), before line 6
        critic_loss = critic.loss(q, step)  # line 6, with mu before line 5
        score = policy.log_prob(s, a)  # at theta(t)
        objective = (score * critic.advantage(q)).sum(dim=-1)  # line 7
        if self.rescale:
            objective = objective / (1.0 + critic.sup_norm())  # Gamma of line 8
        self.critic_optimizer.zero_grad()
        self.actor_optimizer.zero_grad()
        (critic_loss.sum() - objective.sum()).backward()

        critic.track_reward(step.r, alpha)  # line 5
        _apply(self.critic_optimizer, alpha)  # line 6
        _apply(self.actor_optimizer, eta)  # line 8
        if self.rescale:
            critic.updated(s, a)
        self.interval.add(r, critic_loss.detach(), objective.detach())
        self.s, self.a = next_s, next_a
        self.t += 1

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
            "critic/mu": self.critic.mu.mean(dim=1).double().numpy(),
            **{f"critic/{name}": value for name, value in self.critic.metrics().items()},
            "actor/entropy": entropy.double().numpy(),
            "schedule/alpha": self.alpha(self.t - 1),
            "schedule/eta": self.eta(self.t - 1),
        }


def _apply(optimizer: Optimizer, step_size: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = step_size
    optimizer.step()


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
