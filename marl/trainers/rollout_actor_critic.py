"""The actor-critic with K steps between updates, so that networks learn in batches. K = 1 is Algorithm 1."""

import copy
from typing import Any

import torch
from torch import Tensor

from marl.core.checks import choice, integer, number
from marl.core.critic import Critic
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.trainers.optimizers import apply
from marl.core.policy import Policy, entropy_of, of_actions
from marl.trainers.rollout import Rollout
from marl.core.scheduler import Scheduler
from marl.trainers.batched import BatchedActorCritic
from marl.trainers.buffer import Replay
from marl.trainers.returns import lambda_returns, n_step_returns

GRADIENTS = ("sampled", "all_actions")


class RolloutActorCritic(BatchedActorCritic):
    """K = `rollout` steps under one policy, then one step of critic and actor on the means over them.

    With everything below at its default, K = 1 and plain SGD it is Algorithm 1 with Gamma = 1, number for number.

    critic_scheduler, actor_scheduler: asked at the step where the rollout began.
    gradient: `sampled` = line 7, grad log zeta_i(a_i) (1/n) sum_j Q_j(z); `all_actions` = its expectation over a_i alone,
    sum_a grad zeta_i(a) (1/n) sum_j Q_j(z with a_i = a), for critics that give it (`Critic.counterfactual`).
    n_step, trace_decay: the critic aims at n-step or lambda returns within the rollout (see `marl.trainers.returns`).
    target_rate: tau of a target network that Q(z(t+1)) is taken from, target <- (1 - tau) target + tau critic after every
    update; 1 = no target network.
    replay: how many rollouts are kept, the present one among them; one of them, drawn anew, is learned by the critic beside
    the present one, with the actions that were taken then. 0 = none.
    entropy: weight beta of (beta / n) sum_i entropy(zeta_i(. | s_i)), added to the objective, in units of reward. A number,
    or a scheduler, asked like the others.
    natural: damping of the natural gradient, for policies that give it (`Policy.natural_gradient`); null = the plain one.
    reward_rate: step size of mu; null = that of the critic, at most 1.
    Errors: `ConfigError` if n_step and trace_decay are both given or look beyond the rollout, a tabular critic is to have a
    target network, or policy or critic cannot give what is asked of them.
    """

    def __init__(
        self,
        env: Environment,
        policy: Policy,
        critic: Critic,
        *,
        rollout: int = 32,
        gradient: str = "sampled",
        n_step: int = 1,
        trace_decay: float = 0.0,
        target_rate: float = 1.0,
        replay: int = 0,
        entropy: float | Scheduler = 0.0,
        natural: float | None = None,
        reward_rate: float | None = None,
        **common: Any,
    ):
        super().__init__(env, policy, critic, rollout=rollout, **common)
        self.all_actions = choice("trainer.gradient", gradient, GRADIENTS) == "all_actions"
        self.n_step = integer("trainer.n_step", n_step, 1)
        self.trace_decay = number("trainer.trace_decay", trace_decay, 0.0, 1.0)
        if self.n_step > self.buffer.length:
            raise ConfigError(f"trainer.n_step={n_step} looks beyond trainer.rollout={rollout}; make the rollout longer")
        if self.trace_decay > 0.0 and self.buffer.length == 1:
            raise ConfigError("trainer.trace_decay looks ahead within a rollout; set trainer.rollout above 1")
        if self.n_step > 1 and self.trace_decay > 0.0:
            raise ConfigError("trainer.n_step and trainer.trace_decay are two ways to look ahead; set one of them")
        self.entropy = entropy if isinstance(entropy, Scheduler) else number("trainer.entropy", entropy, 0.0)
        self.natural = None if natural is None else number("trainer.natural", natural, 1e-12)
        self.reward_rate = None if reward_rate is None else number("trainer.reward_rate", reward_rate, 0.0, 1.0)
        self.target_rate = number("trainer.target_rate", target_rate, 1e-12, 1.0)
        self.target = critic if self.target_rate == 1.0 else _target(critic)
        capacity = integer("trainer.replay", replay, 0)
        self.replay = Replay(capacity, self.buffer.length, self.seed, self.replicas, env.n) if capacity else None
        self._check_parts()
        critic.visit(self.s, self.a)

    def _update(self, rollout: Rollout) -> None:
        critic, began = self.critic, self.t - self.buffer.length
        alpha, eta = self.alpha(began), self.eta(began)
        critic.visit(rollout.s, rollout.a)
        q = critic.q(rollout.s, rollout.a)  # Q^t at z(t) .. z(t + K), before line 6
        critic_loss = self._critic_loss(q, rollout)
        objective = self._objective(q[:-1], rollout.s[:-1], rollout.a[:-1], began)  # line 7 at theta(t)
        again = torch.zeros_like(critic_loss)
        if self.replay is not None:
            self.replay.add(rollout)
            past = self.replay.draw()
            again = self._critic_loss(critic.q(past.s, past.a), past)
        self._differentiate((critic_loss + again - objective).sum())
        if self.natural is not None:
            self.policy.natural_gradient(rollout.s[:-1], self.natural)

        rate = min(alpha, 1.0) if self.reward_rate is None else self.reward_rate
        critic.track_reward(rollout.r.mean(dim=0), rate)  # line 5
        apply(self.critic_optimizer, alpha)  # line 6
        apply(self.actor_optimizer, eta)  # line 8
        self._follow()
        length = self.buffer.length
        self.interval.learned(length * critic_loss.detach(), (objective + again).detach(), length)

    def _critic_loss(self, q: Tensor, rollout: Rollout) -> Tensor:
        """Mean over the steps of the squared TD errors. Shapes: q [K + 1, B, n] -> [B]."""
        critic, discount = self.critic, self.discount
        with torch.no_grad():
            following = (q if self.target is critic else self.target.q(rollout.s, rollout.a))[1:]
            reward = critic.centered(rollout.r, discount)
            if self.n_step > 1:
                aim = n_step_returns(reward, following, discount, self.n_step)
            else:
                aim = lambda_returns(reward, following, discount, self.trace_decay)
        return critic.distance(q[:-1], aim).mean(dim=0)

    def _objective(self, q: Tensor, s: Tensor, a: Tensor, began: int) -> Tensor:
        """What the actor climbs: its gradient is line 7's, meaned over the steps. Shapes: q, s, a [K, B, n] -> [B]."""
        weight = self.entropy(began) if isinstance(self.entropy, Scheduler) else self.entropy
        log_probs = self.policy.log_probs(s)
        if self.all_actions:
            gained = (log_probs.exp() * self.critic.counterfactual(s, a)).sum(dim=(-2, -1))
        else:
            gained = (of_actions(log_probs, a) * self.critic.advantage(q)).sum(dim=-1)
        if weight:
            gained = gained + weight * entropy_of(log_probs).mean(dim=-1)
        return gained.mean(dim=0)

    @torch.no_grad()
    def _follow(self) -> None:
        if self.target is self.critic:
            return
        for held, new in zip(self.target.parameters(), self.critic.parameters(), strict=True):
            held.lerp_(new, self.target_rate)

    def _check_parts(self) -> None:
        """What would be found out at the first update is said before anything is written."""
        if self.all_actions:
            self.critic.counterfactual(self.s, self.a)
        if self.natural is not None and type(self.policy).natural_gradient is Policy.natural_gradient:
            self.policy.natural_gradient(self.s[None], self.natural)
        if type(self.critic).loss is not Critic.loss:
            raise ConfigError(
                f"{type(self.critic).__name__} has a `loss` of its own, which is for steps one at a time; "
                "override `distance` instead, which every trainer uses"
            )

    def _modules(self) -> dict[str, Any]:
        more = {"replay": self.replay, "target": None if self.target is self.critic else self.target}
        kept = {name: part for name, part in more.items() if part is not None}
        return {**super()._modules(), **kept}


def _target(critic: Critic) -> Critic:
    if critic.tabular:
        raise ConfigError("a tabular critic has no target network; set trainer.target_rate=1 or use another critic")
    return copy.deepcopy(critic, {id(critic.env): critic.env}).requires_grad_(False)
