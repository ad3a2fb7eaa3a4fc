"""Localized policy iteration evaluates from rollouts what an agent's actions are worth where it sees x, then improves."""

from typing import Any

import torch
from torch import Tensor

from marl.core.checks import choice, number
from marl.core.critic import Critic
from marl.core.environment import Environment, finite_environment
from marl.core.errors import ConfigError
from marl.core.mirror import mirror_step
from marl.core.policy import Policy, TabularPolicy
from marl.core.shapes import Values
from marl.trainers.credited import CreditedActorCritic, picked
from marl.trainers.optimizers import apply
from marl.trainers.rollout import Rollout


class LocalizedPolicyIteration(CreditedActorCritic):
    """Every agent moves its table along what its actions were worth on average, row by row; nothing is differentiated.

    After K = `rollout` steps under one policy zeta, with A~_i as `CreditedActorCritic` estimates it and A_i(x, a) its mean
    over the N steps in which agent i saw x and did a, less its mean over all actions at x:

        zeta_i(a|x) <- zeta_i(a|x)^(1 - beta w) exp(beta w A_i(x, a) / temperature)      improvement=soft
        zeta_i(a|x) <- zeta_i(a|x) exp(eta w A_i(x, a))                                  improvement=kl

    up to a factor per (i, x), for all agents at once or in turn, w = N / (N + prior). It is the sampled form of
    `marl.exact.localized_policy_iteration`, and its step is the same (`marl.core.mirror`). Sources: Zhang, Qu, Xu, Lin,
    Chen, Wierman 2022 (2211.17116) for soft steps, Chakraborty et al. 2026 (2602.16966) for KL steps, which are those of
    the natural gradient of such tables.

    policy: a table of logits (policy=neighborhood_table). actor_scheduler: eta, or beta, which is at most 1.
    improvement: `soft` earns temperature times the entropies besides the rewards. schedule: `all` agents at once, or
    `in_turn`, one after every rollout. prior: steps that count as nothing.
    critic_scheduler: learning rate of the values, which descend (V_i - G_i)^2 / 2 on the minibatches of every epoch.
    Errors: `ConfigError`, also where the policy is no table, or the critic sees actions.
    """

    postpones_plain_sgd = True  # the policy is moved without an optimizer

    def __init__(
        self,
        env: Environment,
        policy: Policy,
        critic: Critic,
        *,
        rollout: int = 1000,
        discount: float = 1.0,
        improvement: str = "kl",
        schedule: str = "all",
        temperature: float = 0.1,
        prior: float = 10.0,
        **settings: Any,
    ):
        if not isinstance(policy, TabularPolicy):
            raise ConfigError(
                f"LocalizedPolicyIteration moves the rows of a table, which {type(policy).__name__} is not; use "
                "policy=neighborhood_table, or one that derives from marl.TabularPolicy"
            )
        super().__init__(env, policy, critic, rollout=rollout, discount=discount, **settings)
        self.table = policy
        self.soft = choice("trainer.improvement", improvement, ("soft", "kl")) == "soft"
        self.in_turn = choice("trainer.schedule", schedule, ("all", "in_turn")) == "in_turn"
        self.temperature = number("trainer.temperature", temperature, 1e-12)
        self.prior = number("trainer.prior", prior, 0.0)
        self._legal = finite_environment(env, "LocalizedPolicyIteration").action_mask.to(policy.theta.device)

    def _update(self, rollout: Rollout) -> None:
        self._learned(*self._iterate(self._trajectories(rollout), self.t - self.buffer.length))

    def _iterate(self, rollout: Rollout, began: int) -> tuple[Tensor, Tensor]:
        """Improves table and critic once, by trajectories side by side, see `_trajectories`.

        Returns TD errors [K * copies, B, n], and numbers [B] that are finite iff all is well.
        """
        s, a = (x.to(self.table.theta.device) for x in (rollout.s, rollout.a))
        if self.soft:  # of the next states: what the first action is worth does not depend on the entropy before it
            bonus = self.critic.objective.gamma * self.temperature * self._entropy(s[1:])
            rollout = rollout._replace(r=rollout.r + bonus)
        td_error, target, credited = self._estimate(rollout)
        s, a = s[:-1].flatten(0, 1), a[:-1].flatten(0, 1)
        check = self._improve(s, a, self._scaled(credited), self.eta(began))
        return td_error, check + self._fit(s, a, target, self.alpha(began))

    def _scaled(self, credited: Values) -> Values:
        """Returns advantages as the table moves along them. Shapes: [K, B, n] -> [K, B, n]."""
        return credited

    @torch.no_grad()
    def _entropy(self, s: Tensor) -> Tensor:
        return self.policy.entropy(s).cpu().double()

    @torch.no_grad()
    def _improve(self, s: Tensor, a: Tensor, credited: Values, step: float) -> Tensor:
        """Moves the rows that were visited; returns a number per replica [B] that is finite iff all of them are."""
        of = torch.arange(self.env.n, device=s.device)
        if self.in_turn:
            of = of[self._updates % self.env.n, None]
        s_of, a_of, worth = s[..., of], a[..., of], credited[..., of]
        theta = self.table.theta.view(-1, self.table.theta.shape[-1])
        rows, cells = self.table.rows(s)[..., of].flatten().unique(return_inverse=True)
        legal = theta.new_zeros(len(rows), theta.shape[-1], dtype=torch.bool)
        legal[cells] = self._legal[of, s_of].flatten(0, -2)
        cells = cells * legal.shape[1] + a_of.flatten()
        count = cells.bincount(minlength=legal.numel()).to(theta).view_as(legal)
        total = theta.new_zeros(legal.numel()).index_add_(0, cells, worth.flatten().to(theta)).view_as(legal)
        level = total.sum(dim=1, keepdim=True) / count.sum(dim=1, keepdim=True)
        trusted = count / (count + self.prior).clamp(min=1e-12)
        q = trusted * (total / count.clamp(min=1.0) - level)
        keep, gain = (1.0 - step * trusted, step / self.temperature) if self.soft else (1.0, step)
        log_probs = torch.log_softmax(theta[rows].masked_fill(~legal, -torch.inf), dim=-1)
        moved = mirror_step(log_probs, q, keep, gain)
        theta[rows] = moved.where(legal, theta[rows])
        of_replica = rows // self.table.theta.shape[1]
        return worth.sum(dim=(0, 2)).to(theta).index_add_(0, of_replica, moved.masked_fill(~legal, 0.0).sum(dim=1))

    def _fit(self, s: Tensor, a: Tensor, target: Values, alpha: float) -> Tensor:
        """Takes a step of the critic for every minibatch of every epoch; returns the sum of losses [B]."""
        check = torch.zeros_like(target[0, :, 0])
        for epoch in self._orders().to(target.device):
            for steps in epoch.tensor_split(self.minibatches):
                loss = 0.5 * (self.critic.q(picked(s, steps), picked(a, steps)) - picked(target, steps)).square()
                self.critic_optimizer.zero_grad()
                loss.mean(dim=(0, 2)).sum().backward()
                apply(self.critic_optimizer, alpha)
                check += loss.detach().mean(dim=(0, 2))
        return check
