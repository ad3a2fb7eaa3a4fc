"""Discounted Scalable Actor-Critic learns in episodes: Qu, Wierman and Li (L4DC 2020)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from marl.core.checks import integer, number
from marl.core.critic import Critic, Transition
from marl.core.environment import Environment
from marl.core.errors import CheckpointError, ConfigError
from marl.core.memory import require
from marl.core.noise import Noise, Purpose
from marl.core.policy import Policy
from marl.core.shapes import PerReplica, States, Values
from marl.trainers.episode import Episode
from marl.trainers.fused_engine import FusedEngine
from marl.trainers.fused_episodes import FusedEpisodes
from marl.trainers.optimizers import apply
from marl.trainers.two_engines import TwoEngineActorCritic


class DiscountedActorCritic(TwoEngineActorCritic):
    """Maximizes E[sum_t gamma^t r(t)], r the mean reward of the agents, with a fresh start in every episode.

    Episode m = 0, 1, ... has T steps under theta(m). z(0) is fresh; the critic goes on learning where it was.
      Inner loop, t = 0..T-1, environment step k = m T + t: s(t+1), r(t) from the environment,
      a_i(t+1) ~ zeta_i^{theta_i(m)}(. | s_i(t+1)), and with both Q on the right side read before the update
        Q_i(z_N(t)) <- Q_i(z_N(t)) + alpha_k ( r_i(t) + gamma Q_i(z_N(t+1)) - Q_i(z_N(t)) ).
      Outer update, with Q as it is after the inner loop:
        theta_i += eta_m sum_{t=0}^{T-1} gamma^t (1/n) sum_{j in N_i^kappa} Q_j(z_N(t)) grad log zeta_i(a_i(t)|s_i(t)).

    horizon: T. discount: gamma, above 0 and below 1.
    critic_scheduler: alpha, asked at the environment step k. actor_scheduler: eta, asked at the number of the episode, m.
    The optimizers (plain SGD is the algorithm) are those of `ActorCritic`, the engine that of `TwoEngineActorCritic`.
    A run may stop anywhere in an episode and goes on there. Logged besides what every trainer logs:
    `train/discounted_return` (see `Episode.mean_return`).

    Errors: `ConfigError` if the horizon or the discount is out of range; `NotEnoughMemoryError` if the pairs of an episode
    would not fit.
    """

    def __init__(
        self,
        env: Environment,
        policy: Policy,
        critic: Critic,
        *,
        horizon: int = 10,
        discount: float = 0.7,
        **common: Any,
    ):
        self.horizon = integer("trainer.horizon", horizon, 1)
        if not 0.0 < number("trainer.discount", discount) < 1.0:
            raise ConfigError(
                f"trainer.discount must be above 0 and below 1, got {discount!r}; "
                "for the average reward use trainer=scalable_actor_critic"
            )
        require(16 * self.horizon * policy.replicas * env.n, f"trainer.horizon={self.horizon}")
        super().__init__(env, policy, critic, discount=discount, **common)
        self.episode = Episode(self.horizon, critic.objective.gamma, self.replicas, env.n)
        self._fresh = Noise(self.seed, self.replicas, env.n, env.num_uniforms + 1, Purpose.EPISODE)

    def starts(self, first: int, count: int) -> tuple[States, Values]:
        """Returns s(0) of episodes first >= 1, first + 1, ..., and the uniforms that draw a(0). Shapes: both [count, B, n].

        They are of the time m of a stream of their own; episode 0 starts with noise(0) of the run.
        """
        u = torch.stack([self._fresh(m) for m in range(first, first + count)])
        s = self.env.reset(u[..., :-1].flatten(0, 1))
        return s.view(u.shape[:-1]), u[..., -1]

    def visits(self, end: int) -> int:
        """Every step visits a pair, every fresh start another."""
        return end - self.t + end // self.horizon - self.t // self.horizon

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "episode": self.episode.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        saved = state.get("episode", {"s": torch.empty(0)})
        if len(saved["s"]) != self.horizon:
            raise CheckpointError(
                f"the checkpoint is of another configuration: it has episodes of {len(saved['s'])} steps, "
                f"this run of trainer.horizon={self.horizon}"
            )
        super().load_state_dict(state)
        self.episode.load_state_dict(saved)

    def _step(self) -> None:
        policy, critic, s, a = self.policy, self.critic, self.s, self.a
        m, t = divmod(self.t, self.horizon)
        u = self.noise(self.t + 1)
        next_s, r = self.env.step(s, a, u[..., :-1])  # s(t+1), r(t)
        next_a = policy.sample(next_s, u[..., -1])  # a(t+1) from theta(m)
        self._visit(next_s, next_a)
        step = Transition(s, a, r, next_s, next_a)
        critic_loss = critic.loss(critic.q(s, a), step)
        self._learn(critic_loss, self.critic_optimizer, self.alpha(self.t))  # Q_i(z_N(t)) += alpha_k delta_i

        self.episode.add(t, s, a, r)
        self.interval.add(r)
        self.s, self.a = next_s, next_a
        self.t += 1
        objective = self._improve(m) if t + 1 == self.horizon else torch.zeros_like(critic_loss)
        self.interval.learned(critic_loss.detach(), objective.detach())

    def _improve(self, m: int) -> PerReplica:
        """Makes the outer update at the end of episode m, and z(0) of the next; returns what is differentiated, [B]."""
        policy, critic, s, a = self.policy, self.critic, self.episode.s, self.episode.a
        with torch.no_grad():
            q = critic.q(s, a)  # Q_i(z_N(t)), t = 0..T-1, after the inner loop
        gain = (policy.log_prob(s, a) * critic.advantage(q)).sum(dim=-1)
        objective = (self.episode.weight[:, None].to(gain.device) * gain).sum(dim=0)
        self._learn(-objective, self.actor_optimizer, self.eta(m))  # theta(m + 1)
        (self.s,), (u,) = self.starts(m + 1, 1)
        self.a = policy.sample(self.s, u)
        self._visit(self.s, self.a)
        return objective

    def _learn(self, loss: Tensor, optimizer: Optimizer, step_size: float) -> None:
        """Takes one step of `optimizer` on the sum of loss [B], unless nothing that it depends on is learned."""
        if loss.requires_grad:
            self._differentiate(loss.sum())
            apply(optimizer, step_size)

    def fused(self) -> FusedEngine:
        return FusedEpisodes(self, self.horizon)

    def _metrics(self) -> dict[str, float | np.ndarray]:
        return {
            **super()._metrics(),
            "schedule/eta": self.eta((self.t - 1) // self.horizon),
            "train/discounted_return": self.episode.mean_return(self.t, self.interval.steps).numpy(),
        }

    def _log(self) -> None:
        super()._log()
        self.episode.latest = self.episode.mean_return(self.t, self.interval.steps)
        self.episode.ended.zero_()
