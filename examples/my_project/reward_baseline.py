"""A trainer of one's own: every agent follows its own next reward, without a Q-function."""

from typing import Any

import torch

from marl import Critic, Environment, Policy, Scheduler, Trainer


class RewardBaseline(Trainer):
    """theta_i <- theta_i + eta_t (r_i(t) - mu_i) grad log zeta_i(a_i(t) | s_i(t)); of the critic only mu_i is used."""

    def __init__(
        self,
        env: Environment,
        policy: Policy,
        critic: Critic,
        *,
        critic_scheduler: Scheduler,
        actor_scheduler: Scheduler,
        **run,
    ):
        super().__init__(env, policy, **run)
        self.critic, self.alpha, self.eta = critic, critic_scheduler, actor_scheduler

    def _advance(self, steps: int) -> None:
        for _ in range(steps):
            u = self.noise(self.t + 1)
            next_s, r = self.env.step(self.s, self.a, u[..., :-1])
            next_a = self.policy.sample(next_s, u[..., -1])
            error = r.to(self.critic.dtype) - self.critic.mu
            self.policy.zero_grad()
            (error * self.policy.log_prob(self.s, self.a)).sum().backward()
            with torch.no_grad():
                for theta in self.policy.parameters():
                    theta += self.eta(self.t) * theta.grad
            self.critic.track_reward(r.to(self.critic.dtype), self.alpha(self.t))
            loss = error.square().sum(dim=1) / 2
            self.interval.add(r)
            self.interval.learned(loss, check=loss)
            self.s, self.a, self.t = next_s, next_a, self.t + 1

    def _modules(self) -> dict[str, Any]:
        return {"policy": self.policy, "critic": self.critic}
