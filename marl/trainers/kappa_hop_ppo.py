"""kappa-hop PPO takes clipped steps on what an agent does to the rewards around it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from marl.core.checks import integer, number
from marl.core.critic import Critic
from marl.core.environment import Environment, finite_environment
from marl.core.errors import ConfigError
from marl.core.lookup import over_neighbors
from marl.core.noise import Noise, Purpose
from marl.core.objective import Average
from marl.core.policy import Policy, entropy_of, of_actions
from marl.core.scheduler import Scheduler
from marl.core.shapes import Values
from marl.trainers import clipped_engine
from marl.trainers.batched import BatchedActorCritic
from marl.trainers.fusible import changed, not_declared
from marl.trainers.optimizers import apply
from marl.trainers.returns import lambda_returns
from marl.trainers.rollout import Rollout
from marl.trainers.two_engines import chosen_engine


class KappaHopPPO(BatchedActorCritic):
    """Every agent climbs the rewards of its neighborhood by clipped steps (Schulman et al. 2017; Ma et al. 2021, APO).

    After K = `rollout` steps under one policy zeta, where m_j and v_j are running means of r_j and V_j:
    1. A_j(t) = sum_l (discount trace_decay)^l delta_j(t + l) within the rollout, delta_j = r_j - m_j + discount V_j(s') -
       V_j(s), and the critic aims at G_j = A_j + V_j - value_pull v_j; m_j and v_j are 0 if discount is below 1;
    2. agent i is credited with A~_i = sum_j A_j over the agents j within `credit` hops, the sum of line 7, which is scaled
       to mean 0 and variance 1 over the steps and agents of each replica;
    3. `epochs` times the steps are shuffled, replica by replica, and cut into `minibatches`; on the means over the steps
       and agents of each the critic descends (V_i - G_i)^2 / 2 and the actor ascends
       min(w A~_i, clamp(w, 1 - clip, 1 + clip) A~_i) + entropy H(zeta'_i(.|s)), w = zeta'_i(a_i|s) / zeta_i(a_i|s);
    4. the action of the present step is drawn anew, with the uniform that it had, from the new policy.

    critic: values of states, blind to actions; says so by `ignores_actions = True` (critic=neural_state_value does).
    critic_scheduler, actor_scheduler: learning rates, asked at the step where the rollout began, as `entropy` is where it
    is a scheduler.
    credit: null = the kappa of the critic; 0 = an agent's own rewards alone.
    reward_rate: c of m <- m + c_k (mean of the rollout - m) in update k = 1, 2, .., and of v likewise. The steps are
    c_k = c / (1 - (1 - c)^k), so that the first rollout replaces what they were before.
    engine: `autograd` takes the steps of an update with torch autograd, `fused` the same steps compiled, for a policy and a
    critic that are networks of their own for every agent (`networks()`) and Adam; `auto` is `fused` where that is possible.
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
        discount: float = 1.0,
        trace_decay: float = 0.8,
        credit: int | None = None,
        entropy: float | Scheduler = 0.01,
        reward_rate: float = 0.1,
        value_pull: float = 0.1,
        engine: str = "auto",
        critic_optimizer: Callable[..., Optimizer] = Adam,
        actor_optimizer: Callable[..., Optimizer] = Adam,
        **common: Any,
    ):
        if not critic.ignores_actions:
            raise ConfigError(
                f"{type(self).__name__} needs a critic of states, such as critic=neural_state_value; "
                f"{type(critic).__name__} does not say that it ignores actions (ignores_actions = True)"
            )
        optimizers = {"critic_optimizer": critic_optimizer, "actor_optimizer": actor_optimizer}
        super().__init__(env, policy, critic, rollout=rollout, discount=discount, **optimizers, **common)
        self.epochs = integer("trainer.epochs", epochs, 1)
        self.minibatches = integer("trainer.minibatches", minibatches, 1)
        if self.minibatches > self.buffer.length:
            raise ConfigError(
                f"trainer.minibatches={self.minibatches} are more than the {self.buffer.length} steps of trainer.rollout"
            )
        self.clip = number("trainer.clip", clip, 0.0, 1.0)
        self.trace_decay = number("trainer.trace_decay", trace_decay, 0.0, 1.0)
        self.entropy = entropy if isinstance(entropy, Scheduler) else number("trainer.entropy", entropy, 0.0)
        self.reward_rate = number("trainer.reward_rate", reward_rate, 1e-12, 1.0)
        self.value_pull = number("trainer.value_pull", value_pull, 0.0)
        self.credit = critic.kappa if credit is None else integer("trainer.credit", credit, 0)
        self._credited = pairs_within(env, self.credit).to(critic.q(self.s, self.a).device)
        self._mean_value = Average(self.replicas, env.n, critic.dtype).to(self._credited.device)
        self._shuffle = Noise(self.seed, self.replicas, self.buffer.length, 1, Purpose.SHUFFLE)
        self.engine = chosen_engine(engine, self._obstacle())

    def fused(self, batch: "Batch", order: Tensor, entropy: float, alpha: float, eta: float) -> Tensor:
        """Does what `_improve` does, compiled: equal up to rounding.

        Errors: `ConfigError` if a part has been changed so that only autograd would notice.
        """
        if reason := self._obstacle():
            raise ConfigError(f"trainer.engine=fused cannot go on: {reason}; make the trainer with engine=autograd")
        part = torch.arange(self.buffer.length).tensor_split(self.minibatches)
        ends = np.cumsum([len(steps) for steps in part])
        actor, critic = (self.policy, self.actor_optimizer, eta), (self.critic, self.critic_optimizer, alpha)
        legal = finite_environment(self.env, "a compiled update").action_mask
        taught = [x.numpy() for x in (*batch, order)]
        return clipped_engine.improve(actor, critic, [*taught, ends, legal.numpy(), self.clip, entropy])

    def _obstacle(self) -> str | None:
        """Says why the steps of an update cannot be compiled, or None."""
        optimizers = self.actor_optimizer, self.critic_optimizer
        return not_declared(self) or changed(self) or clipped_engine.obstacle(self.policy, self.critic, *optimizers)

    def _update(self, rollout: Rollout) -> None:
        began = self.t - self.buffer.length
        alpha, eta, count = self.alpha(began), self.eta(began), began // self.buffer.length
        entropy = self.entropy(began) if isinstance(self.entropy, Scheduler) else self.entropy
        self._visit(rollout.s, rollout.a)
        td_loss, batch = self._batch(rollout, count + 1)
        epochs = range(count * self.epochs, (count + 1) * self.epochs)
        order = torch.stack([self._shuffle(epoch)[..., 0].argsort(dim=1).T for epoch in epochs])  # [epochs, K, B]
        improve = self.fused if self.engine == "fused" else self._improve
        check = improve(batch, order, entropy, alpha, eta)
        self.interval.learned(td_loss, check, self.buffer.length)
        self.a = self.policy.sample(self.s, self.noise(self.t)[..., -1])

    def _improve(self, batch: "Batch", order: Tensor, entropy: float, alpha: float, eta: float) -> Tensor:
        """Takes a step of critic and actor for every minibatch of every epoch. Returns the sum of losses [B]."""
        check = torch.zeros_like(batch.target[0, :, 0])
        for epoch in order.to(check.device):
            for steps in epoch.tensor_split(self.minibatches):
                loss = self._loss(batch.at(steps), entropy)
                self._differentiate(loss.sum())
                apply(self.critic_optimizer, alpha)
                apply(self.actor_optimizer, eta)
                check += loss.detach()
        return check

    @torch.no_grad()
    def _batch(self, rollout: Rollout, count: int) -> tuple[Tensor, "Batch"]:
        """Returns (sum of delta^2 / 2 over steps and agents [B], what the rollout teaches in update `count`)."""
        critic, gamma = self.critic, self.critic.objective.gamma
        values = critic.q(rollout.s, rollout.a)
        present, following = values[:-1], values[1:]
        rate = self.reward_rate / (1.0 - (1.0 - self.reward_rate) ** count)
        critic.track_reward(rollout.r.mean(dim=0), rate)
        reward = critic.centered(rollout.r)
        target = lambda_returns(reward, following, gamma, self.trace_decay)
        delta, advantage = reward + gamma * following - present, target - present
        if isinstance(critic.objective, Average):
            self._mean_value.track(present.mean(dim=0), rate)
            target = target - self.value_pull * self._mean_value.mu
        s, a = rollout.s[:-1].to(values.device), rollout.a[:-1].to(values.device)
        credited = normalized(advantage + over_neighbors(self._credited, advantage))
        batch = Batch(s, a, self.policy.log_prob(s, a), credited, target)
        return 0.5 * delta.square().sum(dim=(0, 2)), batch

    def _loss(self, batch: "Batch", entropy: float) -> Tensor:
        """Computes what critic and actor descend together; they share no parameters. Shapes: [B]."""
        value_loss = 0.5 * (self.critic.q(batch.s, batch.a) - batch.target).square()
        log_probs = self.policy.log_probs(batch.s)
        surrogate = clipped_surrogate(of_actions(log_probs, batch.a), batch.log_prob, batch.advantage, self.clip)
        if entropy:
            surrogate = surrogate + entropy * entropy_of(log_probs)
        return (value_loss - surrogate).mean(dim=(0, 2))

    def _modules(self) -> dict[str, Any]:
        return {**super()._modules(), "mean_value": self._mean_value}


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


def pairs_within(env: Environment, hops: int) -> Tensor:
    """Lists every two agents within so many hops of each other once. Shapes: [2, pairs]."""
    index, mask, _ = env.network.neighborhood(hops)
    center = torch.arange(env.n)[:, None].expand_as(index)
    once = mask & (center < index)
    return torch.stack([center[once], index[once]])


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
