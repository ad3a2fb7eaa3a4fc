"""kappa-hop PPO takes clipped steps on what an agent does to the rewards around it."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam, Optimizer

from marl.core.checks import number
from marl.core.critic import Critic
from marl.core.environment import Environment, finite_environment
from marl.core.errors import ConfigError
from marl.core.policy import Policy, entropy_of, of_actions
from marl.core.scheduler import Scheduler
from marl.core.shapes import Values
from marl.trainers import clipped_engine
from marl.trainers.credited import CreditedActorCritic, picked
from marl.trainers.fusible import changed, not_declared
from marl.trainers.optimizers import apply
from marl.trainers.rollout import Rollout
from marl.trainers.two_engines import chosen_engine


class KappaHopPPO(CreditedActorCritic):
    """Every agent climbs the rewards of its neighborhood by clipped steps (Schulman et al. 2017; Ma et al. 2021, APO).

    After K = `rollout` steps under one policy zeta:
    1. advantages A~_i and what the critic aims at, G_i, are estimated as `CreditedActorCritic` says, and A~ is scaled to
       mean 0 and variance 1 over the steps and agents of each replica;
    2. `epochs` times the steps are shuffled, replica by replica, and cut into `minibatches`; on the means over the steps
       and agents of each the critic descends (V_i - G_i)^2 / 2 and the actor ascends
       min(w A~_i, clamp(w, 1 - clip, 1 + clip) A~_i) + entropy H(zeta'_i(.|s)), w = zeta'_i(a_i|s) / zeta_i(a_i|s);
    3. the action of the present step is drawn anew, with the uniform that it had, from the new policy.

    critic_scheduler, actor_scheduler: learning rates, asked at the step where the rollout began, as `entropy` is where it
    is a scheduler.
    engine: `autograd` takes the steps of an update with torch autograd, `fused` the same steps compiled, for a policy and a
    critic that are networks of their own for every agent (`networks()`) and Adam; `auto` is `fused` where that is possible.
    Errors: `ConfigError`, also where the critic sees actions, or a rollout has fewer steps than minibatches.
    """

    def __init__(
        self,
        env: Environment,
        policy: Policy,
        critic: Critic,
        *,
        rollout: int = 128,
        clip: float = 0.2,
        discount: float = 1.0,
        entropy: float | Scheduler = 0.01,
        engine: str = "auto",
        actor_optimizer: Callable[..., Optimizer] = Adam,
        **settings: Any,
    ):
        common = {"rollout": rollout, "discount": discount, "actor_optimizer": actor_optimizer, **settings}
        super().__init__(env, policy, critic, **common)
        self.clip = number("trainer.clip", clip, 0.0, 1.0)
        self.entropy = entropy if isinstance(entropy, Scheduler) else number("trainer.entropy", entropy, 0.0)
        self.engine = chosen_engine(engine, self._obstacle())

    def fused(self, batch: "Batch", order: Tensor, entropy: float, alpha: float, eta: float) -> Tensor:
        """Does what `_improve` does, compiled: equal up to rounding.

        Errors: `ConfigError` if a part has been changed so that only autograd would notice.
        """
        if reason := self._obstacle():
            raise ConfigError(f"trainer.engine=fused cannot go on: {reason}; make the trainer with engine=autograd")
        part = torch.arange(self._batch_size).tensor_split(self.minibatches)
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
        entropy = self.entropy(began) if isinstance(self.entropy, Scheduler) else self.entropy
        self._visit(rollout.s, rollout.a)
        td_error, batch = self._batch(rollout)
        improve = self.fused if self.engine == "fused" else self._improve
        check = improve(batch, self._orders(), entropy, self.alpha(began), self.eta(began))
        self._learned(td_error, check)

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
    def _batch(self, rollout: Rollout) -> tuple[Tensor, "Batch"]:
        """Returns (the TD errors [K * copies, B, n], what the rollout teaches)."""
        rollout = self._trajectories(rollout)
        td_error, target, credited = self._estimate(rollout)
        s, a = (x[:-1].flatten(0, 1).to(target.device) for x in (rollout.s, rollout.a))
        return td_error, Batch(s, a, self.policy.log_prob(s, a), normalized(credited), target)

    def _loss(self, batch: "Batch", entropy: float) -> Tensor:
        """Computes what critic and actor descend together; they share no parameters. Shapes: [B]."""
        value_loss = 0.5 * (self.critic.q(batch.s, batch.a) - batch.target).square()
        log_probs = self.policy.log_probs(batch.s)
        surrogate = clipped_surrogate(of_actions(log_probs, batch.a), batch.log_prob, batch.advantage, self.clip)
        if entropy:
            surrogate = surrogate + entropy * entropy_of(log_probs)
        return (value_loss - surrogate).mean(dim=(0, 2))


class Batch(NamedTuple):
    """This is what K steps teach, of all copies together.

    Shapes: every field [K, B, n]; log_prob is that of the policy that took the steps.
    """

    s: Tensor
    a: Tensor
    log_prob: Tensor
    advantage: Tensor
    target: Tensor

    def at(self, steps: Tensor) -> "Batch":
        """Picks some of the steps, of every replica its own. Shapes: steps [k, B] -> every field [k, B, n]."""
        return Batch(*(picked(field, steps) for field in self))


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
