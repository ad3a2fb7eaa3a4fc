"""These trainers take advantages from the rewards of a rollout, and credit agents with those of the agents around them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from marl.core.checks import integer, number
from marl.core.critic import Critic
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.lookup import over_neighbors
from marl.core.noise import Noise, Purpose
from marl.core.objective import Average, Differential
from marl.core.policy import Policy
from marl.core.shapes import Values
from marl.trainers.batched import BatchedActorCritic
from marl.trainers.returns import lambda_returns
from marl.trainers.rollout import Rollout, drawn


class Estimate(NamedTuple):
    """This is what a rollout says. Shapes: every field [K * copies, B, n].

    td_error: delta_j; target: G_j, what the critic aims at; credited: A~_i, the sum of advantages around i.
    """

    td_error: Values
    target: Values
    credited: Values


class CreditedActorCritic(BatchedActorCritic):
    """This base class estimates advantages after every rollout: implement `_update`, which asks `_estimate`.

    A_j(t) = sum_l (discount trace_decay)^l delta_j(t + l) within the rollout (Schulman et al. 2016), where delta_j = r_j -
    m_j + discount V_j(s') - V_j(s), and m_j and v_j are running means of r_j and V_j (Ma et al. 2021), 0 if discount is
    below 1. The critic aims at G_j = A_j + V_j - value_pull v_j. Agent i is credited with A~_i = sum_j A_j over the agents
    j within `credit` hops, the sum of line 7.

    critic: values of states, blind to actions; says so by `ignores_actions = True` (critic=neural_state_value does).
    credit: null = the kappa of the critic; 0 = an agent's own rewards alone.
    reward_rate: c of m <- m + c_k (mean of the rollout - m) in update k = 1, 2, .., and of v likewise. The steps are
    c_k = c / (1 - (1 - c)^k), so that the first rollout replaces what they were before.
    copies: so many trajectories of the environment are sampled side by side by every replica, each for `rollout` steps, and
    all of them are learned from together. A step of the run is a step of each.
    epochs, minibatches: how often the steps of a rollout are gone through, shuffled, and into how many parts they are cut.
    Errors: `ConfigError`, also where the critic sees actions, or a rollout has fewer steps than minibatches.
    """

    learns_from_q = False

    def __init__(
        self,
        env: Environment,
        policy: Policy,
        critic: Critic,
        *,
        copies: int = 1,
        epochs: int = 4,
        minibatches: int = 4,
        trace_decay: float = 0.8,
        credit: int | None = None,
        reward_rate: float = 0.1,
        value_pull: float = 0.1,
        critic_optimizer: Callable[..., Optimizer] = Adam,
        **common: Any,
    ):
        if not critic.ignores_actions:
            raise ConfigError(
                f"{type(self).__name__} needs a critic of states, such as critic=neural_state_value; "
                f"{type(critic).__name__} does not say that it ignores actions (ignores_actions = True)"
            )
        self.copies = integer("trainer.copies", copies, 1)
        super().__init__(env, policy, critic, critic_optimizer=critic_optimizer, **common)
        self.epochs = integer("trainer.epochs", epochs, 1)
        self.minibatches = integer("trainer.minibatches", minibatches, 1)
        self._batch_size = self.buffer.length * self.copies
        if self.minibatches > self._batch_size:
            raise ConfigError(
                f"trainer.minibatches={self.minibatches} are more than the {self._batch_size} steps of trainer.rollout"
            )
        self.trace_decay = number("trainer.trace_decay", trace_decay, 0.0, 1.0)
        self.reward_rate = number("trainer.reward_rate", reward_rate, 1e-12, 1.0)
        self.value_pull = number("trainer.value_pull", value_pull, 0.0)
        self.credit = critic.kappa if credit is None else integer("trainer.credit", credit, 0)
        self._credited = pairs_within(env, self.credit).to(
            critic.q(self.s[: self.replicas], self.a[: self.replicas]).device
        )
        self._mean_value = Average(self.replicas, env.n, critic.dtype).to(self._credited.device)
        self._shuffle = Noise(self.seed, self.replicas, self._batch_size, 1, Purpose.SHUFFLE)

    @property
    def _updates(self) -> int:
        """Counts the updates before the one for which a rollout has just been filled."""
        return self.t // self.buffer.length - 1

    @torch.no_grad()
    def _estimate(self, rollout: Rollout) -> Estimate:
        """Estimates advantages of what was done, in trajectories side by side as `_trajectories` gives them."""
        critic, gamma = self.critic, self.critic.objective.gamma
        values = critic.q(rollout.s, rollout.a)
        present, following = values[:-1], values[1:]
        rate = self.reward_rate / (1.0 - (1.0 - self.reward_rate) ** (self._updates + 1))
        critic.track(rollout.r.mean(dim=(0, 1)), rate, lambda: (following - present).mean(dim=(0, 1)))
        centered = critic.centered(rollout.r)
        target = lambda_returns(centered, following, gamma, self.trace_decay)
        td_error, advantage = centered + gamma * following - present, target - present
        if isinstance(critic.objective, Differential):
            self._mean_value.track(present.mean(dim=(0, 1)), rate)
            target = target - self.value_pull * self._mean_value.mu
        credited = advantage + over_neighbors(self._credited, advantage)
        return Estimate(*(x.flatten(0, 1) for x in (td_error, target, credited)))

    def _trajectories(self, rollout: Rollout) -> Rollout:
        """Gives copies an axis of their own. Shapes: fields [K (+ 1), copies * B, n] -> [K (+ 1), copies, B, n]."""
        return Rollout(*(self._by_copy(x) for x in rollout))

    def _learned(self, td_error: Values, check: Tensor) -> None:
        """Notes what a rollout taught, and draws the present actions anew.

        Shapes: td_error [K * copies, B, n], check [B].
        """
        self.interval.learned(0.5 * td_error.square().sum(dim=(0, 2)) / self.copies, check, self.buffer.length)
        self.a = drawn(self.policy, self.s, self.noise(self.t)[..., -1])

    def _orders(self) -> Tensor:
        """Shuffles the steps of the rollout for every epoch, replica by replica. Shapes: [epochs, K * copies, B]."""
        epochs = range(self._updates * self.epochs, (self._updates + 1) * self.epochs)
        return torch.stack([self._shuffle(epoch)[..., 0].argsort(dim=1).T for epoch in epochs])

    def _modules(self) -> dict[str, Any]:
        return {**super()._modules(), "mean_value": self._mean_value}


def picked(x: Tensor, steps: Tensor) -> Tensor:
    """Picks some of the steps, of every replica its own. Shapes: x [K, B, n], steps [k, B] -> [k, B, n]."""
    return x.gather(0, steps[..., None].expand(-1, -1, x.shape[-1]))


def pairs_within(env: Environment, hops: int) -> Tensor:
    """Lists every two agents within so many hops of each other once. Shapes: [2, pairs]."""
    index, mask, _ = env.network.neighborhood(hops)
    center = torch.arange(env.n)[:, None].expand_as(index)
    once = mask & (center < index)
    return torch.stack([center[once], index[once]])
