"""Scalable Actor-Critic is Algorithm 1 of Qu, Lin, Wierman and Li (NeurIPS 2020)."""

from typing import Any

from marl.core.checks import boolean
from marl.core.critic import Critic, Transition
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.policy import Policy
from marl.trainers.fused_engine import FusedEngine
from marl.trainers.optimizers import apply
from marl.trainers.two_engines import TwoEngineActorCritic


class ScalableActorCritic(TwoEngineActorCritic):
    """Learns on one trajectory, never reset; every agent learns from its kappa-hop neighborhood.

    critic_scheduler, actor_scheduler: alpha_t of lines 5-6 and eta_t of line 8. They, discount (on the same trajectory)
    and the optimizers (plain SGD is Algorithm 1) are those of `ActorCritic`.
    rescale: Gamma = 1 / (1 + max_j ||Q_j||_inf) of line 8 if true, 1 if false (as in the paper's experiments).
    engine: that of `TwoEngineActorCritic`.
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
        _check_rescale(critic, rescale)
        super().__init__(env, policy, critic, **common)
        self.rescale = rescale

    @property
    def rescale(self) -> bool:
        """Says whether Gamma is 1 / (1 + max_j ||Q_j||_inf). Errors: `ConfigError` if so and the critic is no table."""
        return self._rescale

    @rescale.setter
    def rescale(self, on: bool) -> None:
        _check_rescale(self.critic, on)
        self._rescale = on
        if self.critic.table is not None:
            self.critic.table.track_sup_norm(on)

    def fused(self) -> FusedEngine:
        return FusedEngine(self)

    def _step(self) -> None:
        policy, critic, s, a = self.policy, self.critic, self.s, self.a
        alpha, eta = self.alpha(self.t), self.eta(self.t)
        u = self.noise(self.t + 1)
        next_s, r = self.env.step(s, a, u[..., :-1])  # line 3, first half of 4
        next_a = policy.sample(next_s, u[..., -1])  # line 4: a(t+1) from theta(t)
        self._visit(next_s, next_a)
        step = Transition(s, a, r, next_s, next_a)

        q = critic.q(s, a)  # Q^t(z(t)), before line 6
        critic_loss = critic.loss(q, step)  # line 6, with mu before line 5
        score = policy.log_prob(s, a)  # at theta(t)
        objective = (score * critic.advantage(q)).sum(dim=-1)  # line 7
        if self.rescale and critic.table is not None:
            objective = objective / (1.0 + critic.table.sup_norm())  # Gamma of line 8
        self._differentiate(critic_loss.sum() - objective.sum())

        critic.track(r, alpha, lambda: critic.q(next_s, next_a) - q)  # line 5
        apply(self.critic_optimizer, alpha)  # line 6
        apply(self.actor_optimizer, eta)  # line 8
        if self.rescale and critic.table is not None:
            critic.table.updated(s, a)
        self.interval.add(r)
        self.interval.learned(critic_loss.detach(), objective.detach())
        self.s, self.a = next_s, next_a
        self.t += 1


def _check_rescale(critic: Critic, on: bool) -> None:
    if boolean("trainer.rescale", on) and critic.table is None:
        raise ConfigError(
            "trainer.rescale=true needs the largest |Q|, which only a table knows, and "
            f"{type(critic).__name__} is none; set trainer.rescale=false or use a tabular critic"
        )
