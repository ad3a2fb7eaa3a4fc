"""The actor-critic takes K steps between updates, so that networks learn in batches. K = 1 is Algorithm 1."""

import functools
from typing import Any

import torch
from torch import Tensor

from marl.core.checks import choice, number
from marl.core.critic import CounterfactualCritic, Critic
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.policy import NaturalGradientPolicy, Policy, entropy_of, of_actions
from marl.core.scheduler import Scheduler
from marl.trainers import batch_engine
from marl.trainers.batch_engine import BatchEngine
from marl.trainers.batched import BatchedActorCritic
from marl.trainers.fusible import changed, not_declared
from marl.trainers.optimizers import apply
from marl.trainers.returns import lambda_returns
from marl.trainers.rollout import Rollout
from marl.trainers.two_engines import chosen_engine

GRADIENTS = ("sampled", "all_actions")


class RolloutActorCritic(BatchedActorCritic):
    """This trainer takes K = `rollout` steps under one policy, then one step of critic and actor on the means over them.

    With everything below at its default, K = 1 and plain SGD it is Algorithm 1 with Gamma = 1, number for number.

    critic_scheduler, actor_scheduler: asked at the step where the rollout began.
    gradient: `sampled` = line 7, grad log zeta_i(a_i) (1/n) sum_j Q_j(z); `all_actions` = its expectation over a_i alone,
    sum_a grad zeta_i(a) (1/n) sum_j Q_j(z with a_i = a), for critics that give it (`CounterfactualCritic`).
    trace_decay: the critic aims at lambda returns within the rollout (see `marl.trainers.returns`); 0 = one step.
    entropy: weight beta of (beta / n) sum_i entropy(zeta_i(. | s_i)), added to the objective, in units of reward. A number,
    or a scheduler, asked like the others.
    natural: damping of the natural gradient, for policies that give it (`NaturalGradientPolicy`); null = the plain one.
    reward_rate: step size of mu; null = that of the critic, at most 1.
    engine: `autograd` learns with torch autograd, `fused` takes rollouts and learns from them in one compiled loop, equal
    up to rounding, for policies and critics that are linear in their parameters and say so (`linear()`), in float64, with
    plain SGD for the critic, plain SGD or Adam for the actor, and environments with a compiled step; `auto` is `fused`
    where that is possible.
    Errors: `ConfigError` if trace_decay looks beyond the rollout, or policy or critic cannot give what is asked of them.
    """

    def __init__(
        self,
        env: Environment,
        policy: Policy,
        critic: Critic,
        *,
        rollout: int = 32,
        gradient: str = "sampled",
        trace_decay: float = 0.0,
        entropy: float | Scheduler = 0.0,
        natural: float | None = None,
        reward_rate: float | None = None,
        engine: str = "auto",
        **common: Any,
    ):
        super().__init__(env, policy, critic, rollout=rollout, **common)
        if type(critic).loss is not Critic.loss:
            raise ConfigError(
                f"{type(critic).__name__} has a `loss` of its own, which is for steps one at a time; "
                "override `distance` instead, which every trainer uses"
            )
        self.all_actions = choice("trainer.gradient", gradient, GRADIENTS) == "all_actions"
        self.trace_decay = number("trainer.trace_decay", trace_decay, 0.0, 1.0)
        if self.trace_decay > 0.0 and self.buffer.length == 1:
            raise ConfigError("trainer.trace_decay looks ahead within a rollout; set trainer.rollout above 1")
        self.entropy = entropy if isinstance(entropy, Scheduler) else number("trainer.entropy", entropy, 0.0)
        self.natural = None if natural is None else number("trainer.natural", natural, 1e-12)
        self.reward_rate = None if reward_rate is None else number("trainer.reward_rate", reward_rate, 0.0, 1.0)
        self._climbed = self._checked_critic() if self.all_actions else None
        self._natural = self._checked_policy() if self.natural is not None else None
        self._visit(self.s, self.a)
        self.engine = chosen_engine(engine, self._obstacle())

    def fused(self) -> BatchEngine:
        """Returns the same algorithm compiled, for this trainer."""
        return BatchEngine(self)

    def entropy_at(self, t: int) -> float:
        """Returns the weight of the entropy for a rollout that began at step t."""
        return self.entropy(t) if isinstance(self.entropy, Scheduler) else self.entropy

    def _advance(self, steps: int) -> None:
        if self.engine != "fused":
            super()._advance(steps)
        elif reason := self._obstacle():
            raise ConfigError(f"trainer.engine=fused cannot go on: {reason}; make the trainer with engine=autograd")
        else:
            self._fused.advance(self, steps)

    def _obstacle(self) -> str | None:
        """Says why rollouts and updates cannot be compiled, or None."""
        if self.natural is not None:
            return "trainer.natural has no compiled form"
        if reason := not_declared(self) or changed(self):
            return reason
        return batch_engine.obstacle(self.env, self.policy, self.critic, self.actor_optimizer, self.critic_optimizer)

    @functools.cached_property
    def _fused(self) -> BatchEngine:
        return self.fused()

    def __getstate__(self) -> dict[str, Any]:
        """Leaves out the engine, which is made anew when it is needed."""
        return {name: value for name, value in vars(self).items() if name != "_fused"}

    def _update(self, rollout: Rollout) -> None:
        critic, began = self.critic, self.t - self.buffer.length
        alpha, eta = self.alpha(began), self.eta(began)
        self._visit(rollout.s, rollout.a)
        q = critic.q(rollout.s, rollout.a)  # Q^t at z(t) .. z(t + K), before line 6
        critic_loss = self._critic_loss(q, rollout)
        objective = self._objective(q[:-1], rollout.s[:-1], rollout.a[:-1], began)  # line 7 at theta(t)
        self._differentiate((critic_loss - objective).sum())
        if self._natural is not None and self.natural is not None:
            self._natural.natural_gradient(rollout.s[:-1], self.natural)

        rate = min(alpha, 1.0) if self.reward_rate is None else self.reward_rate
        critic.track(rollout.r.mean(dim=0), rate, lambda: (q[1:] - q[:-1]).mean(dim=0))  # line 5
        apply(self.critic_optimizer, alpha)  # line 6
        apply(self.actor_optimizer, eta)  # line 8
        length = self.buffer.length
        self.interval.learned(length * critic_loss.detach(), objective.detach(), length)

    def _critic_loss(self, q: Tensor, rollout: Rollout) -> Tensor:
        """Gives the mean over the steps of half the squared TD errors. Shapes: q [K + 1, B, n] -> [B]."""
        with torch.no_grad():
            reward = self.critic.centered(rollout.r)
            target = lambda_returns(reward, q[1:], self.critic.objective.gamma, self.trace_decay)
        return self.critic.distance(q[:-1], target).mean(dim=0)

    def _objective(self, q: Tensor, s: Tensor, a: Tensor, began: int) -> Tensor:
        """Gives what the actor climbs; its gradient is line 7, averaged over steps. Shapes: q, s, a [K, B, n] -> [B]."""
        weight = self.entropy_at(began)
        log_probs = self.policy.log_probs(s)
        if self._climbed is not None:
            objective = (log_probs.exp() * self._climbed.counterfactual(s, a)).sum(dim=(-2, -1))
        else:
            objective = (of_actions(log_probs, a) * self.critic.advantage(q)).sum(dim=-1)
        if weight:
            objective = objective + weight * entropy_of(log_probs).mean(dim=-1)
        return objective.mean(dim=0)

    def _checked_critic(self) -> CounterfactualCritic:
        """Returns the critic, which `gradient=all_actions` asks for the value of actions that were not taken."""
        if not isinstance(self.critic, CounterfactualCritic):
            raise ConfigError(
                "trainer.gradient=all_actions needs the value of actions that were not taken, which "
                f"{type(self.critic).__name__} does not give; use trainer.gradient=sampled or a critic that does, one that "
                "derives from marl.CounterfactualCritic"
            )
        return self.critic

    def _checked_policy(self) -> NaturalGradientPolicy:
        """Returns the policy, which `natural` asks for its Fisher information."""
        if not isinstance(self.policy, NaturalGradientPolicy):
            raise ConfigError(
                f"trainer.natural needs a policy whose Fisher information is known, which {type(self.policy).__name__} "
                "does not give; use trainer.natural=null or a policy that derives from marl.NaturalGradientPolicy"
            )
        return self.policy
