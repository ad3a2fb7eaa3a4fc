"""Scalable Actor-Critic: Algorithm 1 of Qu, Lin, Wierman and Li (NeurIPS 2020)."""

from typing import Any

from marl.core.checks import boolean
from marl.core.critic import Critic, Transition
from marl.core.environment import Environment
from marl.core.optimizers import apply
from marl.core.policy import Policy
from marl.trainers.compiled import CompiledActorCritic
from marl.trainers.fused import FusedEngine


class ScalableActorCritic(CompiledActorCritic):
    """One trajectory, never reset; every agent learns from its kappa-hop neighborhood.

    critic_scheduler, actor_scheduler: alpha_t of lines 5-6 and eta_t of line 8. They, discount (on the same trajectory)
    and the optimizers (plain SGD is Algorithm 1) are those of `ActorCritic`.
    rescale: Gamma = 1 / (1 + max_j ||Q_j||_inf) of line 8 if true, 1 if false (as in the paper's experiments).
    engine: that of `CompiledActorCritic`.
    """

    def __init__(
        self,
        env: Environment,
        policy: Policy,
        critic: Critic,
        *,
        rescale: bool = False,
        **common: Any,
    ):
        self.rescale = boolean("trainer.rescale", rescale)
        critic.track_sup_norm(self.rescale)
        super().__init__(env, policy, critic, **common)

    def _compile(self) -> FusedEngine:
        return FusedEngine(self)

    def _step(self) -> None:
        policy, critic, s, a = self.policy, self.critic, self.s, self.a
        alpha, eta = self.alpha(self.t), self.eta(self.t)
        u = self.noise(self.t + 1)
        next_s, r = self.env.step(s, a, u[..., :-1])  # line 3, first half of 4
        next_a = policy.sample(next_s, u[..., -1])  # line 4: a(t+1) from theta(t)
        critic.visit(next_s, next_a)
        step = Transition(s, a, r.to(critic.mu), next_s, next_a, self.discount)

        q = critic.q(s, a)  # Q^t(z(t)), before line 6
        critic_loss = critic.loss(q, step)  # line 6, with mu before line 5
        score = policy.log_prob(s, a)  # at theta(t)
        objective = (score * critic.advantage(q)).sum(dim=-1)  # line 7
        if self.rescale:
            objective = objective / (1.0 + critic.sup_norm())  # Gamma of line 8
        self._differentiate(critic_loss.sum() - objective.sum())

        critic.track_reward(step.r, alpha)  # line 5
        apply(self.critic_optimizer, alpha)  # line 6
        apply(self.actor_optimizer, eta)  # line 8
        if self.rescale:
            critic.updated(s, a)
        self.interval.add(r)
        self.interval.learned(critic_loss.detach(), objective.detach())
        self.s, self.a = next_s, next_a
        self.t += 1
