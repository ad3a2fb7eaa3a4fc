"""Independent PPO is the general-purpose algorithm that networked ones are measured against."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from marl.core.checks import integer, number
from marl.core.critic import Critic
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.noise import Noise, Purpose
from marl.core.objective import Average
from marl.core.policy import Policy, entropy_of, of_actions
from marl.core.shapes import Values
from marl.trainers.batched import BatchedActorCritic
from marl.trainers.optimizers import apply
from marl.trainers.returns import lambda_returns
from marl.trainers.rollout import Rollout


class IndependentPPO(BatchedActorCritic):
    """Every agent climbs its own discounted reward with clipped steps (de Witt et al. 2020; Schulman et al. 2017).

    After K = `rollout` steps under one policy zeta:
    1. A_i(t) = sum_l (discount trace_decay)^l delta_i(t + l) within the rollout, delta_i = r_i + discount V_i(s') - V_i(s);
       G_i = A_i + V_i is what the critic aims at, and A is normalized over the steps and agents of each replica;
    2. `epochs` times the steps are shuffled, replica by replica, and cut into `minibatches`; on the means over the steps
       and agents of each the critic descends (V_i - G_i)^2 / 2 and the actor ascends
       min(w A_i, clamp(w, 1 - clip, 1 + clip) A_i) + entropy H(zeta'_i(. | s_i)), w = zeta'_i(a_i|s_i) / zeta_i(a_i|s_i);
    3. the action of the present step is drawn anew, with the uniform that it had, from the new policy.

    critic: values of states, blind to actions; says so by `ignores_actions = True` (critic=state_value does).
    critic_scheduler, actor_scheduler: learning rates, asked at the step where the rollout began.
    Errors: `ConfigError`, also where the critic sees actions, or a rollout has fewer steps than minibatches.
    """

    learns_from_q = False

    def __init__(
        self,
        env: Environment,
        policy: Policy,
        critic: Critic,
        *,
        rollout: int = 128,
        epochs: int = 4,
        minibatches: int = 4,
        clip: float = 0.2,
        discount: float = 0.99,
        trace_decay: float = 0.95,
        entropy: float = 0.01,
        critic_optimizer: Callable[..., Optimizer] = Adam,
        actor_optimizer: Callable[..., Optimizer] = Adam,
        **common: Any,
    ):
        if not critic.ignores_actions:
            raise ConfigError(
                f"IndependentPPO needs a critic of states, such as critic=state_value; {type(critic).__name__} does not "
                "say that it ignores actions (ignores_actions = True)"
            )
        super().__init__(
            env,
            policy,
            critic,
            rollout=rollout,
            discount=discount,
            critic_optimizer=critic_optimizer,
            actor_optimizer=actor_optimizer,
            **common,
        )
        if isinstance(critic.objective, Average):
            raise ConfigError("trainer.discount must be below 1 for IndependentPPO, which sums discounted rewards")
        self.epochs = integer("trainer.epochs", epochs, 1)
        self.minibatches = integer("trainer.minibatches", minibatches, 1)
        if self.minibatches > self.buffer.length:
            raise ConfigError(
                f"trainer.minibatches={self.minibatches} are more than the {self.buffer.length} steps of trainer.rollout"
            )
        self.clip = number("trainer.clip", clip, 0.0, 1.0)
        self.trace_decay = number("trainer.trace_decay", trace_decay, 0.0, 1.0)
        self.entropy = number("trainer.entropy", entropy, 0.0)
        self._shuffle = Noise(self.seed, self.replicas, self.buffer.length, 1, Purpose.SHUFFLE)

    def _update(self, rollout: Rollout) -> None:
        began = self.t - self.buffer.length
        alpha, eta, first = self.alpha(began), self.eta(began), began // self.buffer.length * self.epochs
        self._visit(rollout.s, rollout.a)
        td_loss, batch = self._batch(rollout)
        check = torch.zeros_like(td_loss)
        for epoch in range(first, first + self.epochs):
            order = self._shuffle(epoch)[..., 0].argsort(dim=1).T.to(td_loss.device)  # [K, B]
            for steps in order.tensor_split(self.minibatches):
                loss = self._loss(batch.at(steps))
                self._differentiate(loss.sum())
                apply(self.critic_optimizer, alpha)
                apply(self.actor_optimizer, eta)
                check += loss.detach()
        self.interval.learned(td_loss, check, self.buffer.length)
        self.a = self.policy.sample(self.s, self.noise(self.t)[..., -1])

    @torch.no_grad()
    def _batch(self, rollout: Rollout) -> tuple[Tensor, "Batch"]:
        """Returns (sum of delta^2 / 2 over steps and agents [B], what the rollout teaches)."""
        values = self.critic.q(rollout.s, rollout.a)
        present, following = values[:-1], values[1:]
        reward, gamma = rollout.r.to(values), self.critic.objective.gamma
        target = lambda_returns(reward, following, gamma, self.trace_decay)
        delta = reward + gamma * following - present
        s, a = rollout.s[:-1].to(values.device), rollout.a[:-1].to(values.device)
        batch = Batch(s, a, self.policy.log_prob(s, a), normalized(target - present), target)
        return 0.5 * delta.square().sum(dim=(0, 2)), batch

    def _loss(self, batch: "Batch") -> Tensor:
        """Computes what critic and actor descend together; they share no parameters. Shapes: [B]."""
        value_loss = 0.5 * (self.critic.q(batch.s, batch.a) - batch.target).square()
        log_probs = self.policy.log_probs(batch.s)
        surrogate = clipped_surrogate(of_actions(log_probs, batch.a), batch.log_prob, batch.advantage, self.clip)
        if self.entropy:
            surrogate = surrogate + self.entropy * entropy_of(log_probs)
        return (value_loss - surrogate).mean(dim=(0, 2))


class Batch(NamedTuple):
    """This is what K steps teach. Shapes: every field [K, B, n]; log_prob is that of the policy that took the steps."""

    s: Tensor
    a: Tensor
    log_prob: Tensor
    advantage: Tensor
    target: Tensor

    def at(self, steps: Tensor) -> "Batch":
        """Picks some of the steps, of every replica its own. Shapes: steps [k, B] -> every field [k, B, n]."""
        index = steps[..., None].expand(-1, -1, self.s.shape[-1])
        return Batch(*(field.gather(0, index) for field in self))


def normalized(advantage: Values) -> Values:
    """Scales to mean 0 and variance 1 over the steps and agents of each replica. Shapes: [K, B, n] -> [K, B, n]."""
    centered = advantage - advantage.mean(dim=(0, 2), keepdim=True)
    return centered / (centered.square().mean(dim=(0, 2), keepdim=True).sqrt() + 1e-8)


def clipped_surrogate(log_prob: Values, old_log_prob: Values, advantage: Values, clip: float) -> Values:
    """Computes min(w A, clamp(w, 1 - clip, 1 + clip) A), w = exp(log_prob - old_log_prob).

    Shapes: [K, B, n] -> [K, B, n].
    """
    ratio = (log_prob - old_log_prob).exp()
    return torch.minimum(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)
