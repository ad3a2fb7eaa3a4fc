"""Certainty equivalence counts a model of the environment and improves the policy in it as if the model were true."""

from typing import Any

import torch
from torch import Tensor

from marl.core.checks import integer, number
from marl.core.critic import Critic
from marl.core.environment import Environment, finite_environment
from marl.core.errors import ConfigError
from marl.core.noise import Noise, Purpose
from marl.core.policy import Policy
from marl.core.shapes import Values
from marl.trainers.counted_model import Counts, LearnedMDP
from marl.trainers.kappa_hop_ppo import normalized
from marl.trainers.policy_iteration import LocalizedPolicyIteration
from marl.trainers.rollout import Rollout, drawn


class CertaintyEquivalence(LocalizedPolicyIteration):
    """After every rollout of real steps, which are counted, the policy is improved on steps that a model imagines.

    1. `rollout` steps of the environment are added to the counts, from which a model is made, see
       `marl.trainers.counted_model`: for every agent P_i(s_i' | z_{N_i}) and the mean of r_i(z_{N_i}).
    2. `planning` times, `branches` trajectories of `horizon` steps each are drawn from the model, side by side, and one
       improvement of `LocalizedPolicyIteration` is made on them all: of the critic, and of every agent's table. The first
       ones begin at states of the rollout, the others where those before ended.

    KL steps take advantages scaled to mean 0 and variance 1 over the steps and agents of a replica, so that no step size
    depends on the size of the rewards; soft steps take them as they are. (Dyna, Sutton 1991, with batches, on tables.)

    critic_scheduler, actor_scheduler: as in `LocalizedPolicyIteration`, asked at the real step where the rollout began.
    smoothing, reward_smoothing: visits that what is filled in counts as. settings: those of `LocalizedPolicyIteration`.
    Errors: `ConfigError`, also where the tables are too large: an agent has more than 8 neighbors, or joint pairs of a
    neighborhood are too many for what is allowed or for the memory.
    """

    def __init__(
        self,
        env: Environment,
        policy: Policy,
        critic: Critic,
        *,
        rollout: int = 1000,
        planning: int = 20,
        branches: int = 50,
        horizon: int = 50,
        smoothing: float = 5.0,
        reward_smoothing: float = 1.0,
        epochs: int = 1,
        **settings: Any,
    ):
        super().__init__(env, policy, critic, rollout=rollout, epochs=epochs, **settings)
        self.planning = integer("trainer.planning", planning, 1)
        self.branches = integer("trainer.branches", branches, 1)
        self.horizon = integer("trainer.horizon", horizon, 1)
        self.smoothing = number("trainer.smoothing", smoothing, 1e-9)
        self.reward_smoothing = number("trainer.reward_smoothing", reward_smoothing, 1e-9)
        imagined = self.branches * self.horizon
        if self.minibatches > imagined:
            raise ConfigError(
                f"trainer.minibatches={self.minibatches} are more than the {imagined} imagined steps of trainer."
                f"branches={self.branches} times trainer.horizon={self.horizon}"
            )
        self._counts = Counts(finite_environment(env, "CertaintyEquivalence"), self.replicas)
        self._round = 0
        self._imagined = Noise(self.seed, self.replicas, self.branches * env.n, 2, Purpose.MODEL)
        self._shuffle = Noise(self.seed, self.replicas, imagined, 1, Purpose.SHUFFLE)

    def model(self, replica: int = 0) -> LearnedMDP:
        """Returns the model that one replica has now, an environment that `marl.exact` takes as any other."""
        if (replica := integer("replica", replica, 0)) >= self.replicas:
            raise ConfigError(f"there is no replica {replica}; replicas are numbered 0 to {self.replicas - 1}")
        return self._counts.model(self.smoothing, self.reward_smoothing).of(replica)

    @property
    def _updates(self) -> int:
        return super()._updates * self.planning + self._round

    def _update(self, rollout: Rollout) -> None:
        began, steps = self.t - self.buffer.length, self.buffer.length
        real = self._trajectories(rollout)
        self._counts.add(real)
        model = self._counts.model(self.smoothing, self.reward_smoothing, self.branches)
        ends = torch.arange(1, self.branches + 1) * self._batch_size // self.branches - 1
        s = real.s[1:].flatten(0, 1)[ends]
        loss = check = torch.zeros(self.replicas, dtype=torch.float64)
        for k in range(self.planning):
            self._round = k
            imagined = self._imagine(model, s)
            td_error, moved = self._iterate(imagined, began)
            loss = loss + 0.5 * td_error.square().mean(dim=0).sum(dim=-1).to(loss)
            check, s = check + moved.to(check), imagined.s[-1]
        self._round = 0
        self.interval.learned(loss * (steps / self.planning), check, steps)
        self.a = drawn(self.policy, self.s, self.noise(self.t)[..., -1])

    @torch.no_grad()
    def _imagine(self, model: LearnedMDP, s: Tensor) -> Rollout:
        """Takes steps in the model from states s [branches, B, n].

        Shapes: s, a [horizon + 1, branches, B, n], r [horizon, branches, B, n].
        """
        first = self._updates * (self.horizon + 1)
        states, actions = (s.new_empty(self.horizon + 1, *s.shape) for _ in range(2))
        rewards = torch.empty(self.horizon, *s.shape, dtype=torch.float64)
        u = self._uniforms(first)
        states[0], actions[0] = s, self.policy.sample(s, u[..., 1])
        for k in range(self.horizon):
            u = self._uniforms(first + k + 1)
            following, r = model.step(states[k].flatten(0, 1), actions[k].flatten(0, 1), u[..., :1].flatten(0, 1))
            states[k + 1], rewards[k] = following.view_as(s), r.view_as(s)
            actions[k + 1] = self.policy.sample(states[k + 1], u[..., 1])
        return Rollout(states, actions, rewards)

    def _uniforms(self, t: int) -> Tensor:
        """Draws what a step of the model takes. Shapes: [branches, B, n, 2]."""
        return self._imagined(t).unflatten(1, (self.branches, self.env.n)).transpose(0, 1)

    def _scaled(self, credited: Values) -> Values:
        return credited if self.soft else normalized(credited)

    def _modules(self) -> dict[str, Any]:
        return {**super()._modules(), "counts": self._counts}
