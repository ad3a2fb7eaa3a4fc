"""The run loop owns time, noise and the state of the chain; it knows nothing of the algorithm."""

import copy
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from marl.core.checks import integer
from marl.core.critic import Critic
from marl.core.environment import Environment, FiniteEnvironment
from marl.core.errors import CheckpointError, ConfigError, DivergedError
from marl.core.logger import Logger
from marl.core.noise import Noise, Purpose
from marl.core.policy import Policy
from marl.core.processes import send_copies
from marl.core.shapes import PerReplica
from marl.core.snapshot import snapshot, uncopied
from marl.core.together import check_together, fingerprint
from marl.trainers.evaluation import Evaluation, evaluate
from marl.trainers.rollout import drawn


class Interval:
    """This sums over the environment steps since the last log point, and those `taught` that were learned from since.

    Shapes: reward [B, n], loss [B], finite [B] (steps before the first with a non-finite number).
    """

    def __init__(self, replicas: int, agents: int):
        self.steps = self.taught = 0
        self.reward = torch.zeros(replicas, agents, dtype=torch.float64)
        self.loss = torch.zeros(replicas, dtype=torch.float64)
        self.finite = torch.zeros(replicas, dtype=torch.int64)

    def add(self, r: Tensor) -> None:
        """Adds the rewards of one step, [B, n], or of several, [K, B, n]."""
        before = self.steps
        self.steps += r.numel() // self.reward.numel()
        self.reward += r.sum_to_size(self.reward.shape)
        self.finite += (self.steps - before) * (self.finite == before)

    def learned(self, loss: Tensor, check: Tensor, steps: int = 1) -> None:
        """Adds what so many steps taught, the newest among them.

        loss: the sum of their critic losses; check: any number that is finite iff all is well. Shapes: [B].
        """
        self.taught += steps
        self.loss += loss.to(self.loss.device)
        self.finite -= ((self.finite == self.steps) & ~torch.isfinite(check + loss).to(self.loss.device)).long()


class Trainer(ABC):
    """This is the base class of trainers: implement `_advance`, `_modules` and, to log more, `_metrics`.

    At time t the chain is at z(t) = (s, a), a already drawn. `noise(0)` draws z(0), `noise(t + 1)` the step from t.
    `run` may be called in pieces of any length: the numbers are the same. `multiprocessing` sends a copy. Between pieces,
    `env` may be replaced by one of another law (same class, network, sizes and legal actions), whose steps follow then.
    """

    engine = "autograd"
    copies = 1
    """Trajectories that every replica samples side by side: z(t) has a row c * B + b for copy c of replica b."""

    def __init_subclass__(cls, **given: Any):
        super().__init_subclass__(**given)
        send_copies(cls)

    def __init__(
        self,
        env: Environment,
        policy: Policy,
        *,
        seed: int = 0,
        log_every: int = 100,
        loggers: Sequence[Logger] = (),
    ):
        check_together(env, policy)
        self.env, self.policy = env, policy
        self._env = env
        self._fixed: dict[str, Policy | Critic] = {"policy": policy}
        self.seed = integer("seed", seed, 0)
        self.log_every = integer("log_every", log_every, 1)
        self.loggers = loggers
        self.replicas = policy.replicas
        width = env.num_uniforms + 1
        self.noise = Noise(self.seed, self.replicas, env.n, width, Purpose.TRAINING, self.copies)
        u = self.noise(0)
        self.t = 0
        self.s = env.reset(u[..., :-1])
        self.a = drawn(policy, self.s, u[..., -1])
        self.interval = Interval(self.replicas, env.n)
        self._logged_reward = torch.zeros(self.replicas, dtype=torch.float64)
        self._timed_steps, self._seconds = 0, 0.0

    def run(self, steps: int) -> None:
        """Advances `steps` environment steps, logging whenever t is a multiple of `log_every`.

        Errors: `DivergedError`, with the step, as soon as a log point or the end is reached; `ConfigError` if a part was
        replaced since the trainer was made.
        """
        end = self.t + integer("steps", steps, 1)
        self._check_parts()
        while self.t < end:
            self._timed_advance(min(end, self.t - self.t % self.log_every + self.log_every) - self.t)
            self._check_finite()
            if self.t % self.log_every == 0:
                self._log()
                self._logged_reward = self.total_reward
                self.interval = Interval(self.replicas, self.env.n)

    def evaluate(self, steps: int, burn_in: int | None = None) -> Evaluation:
        """Measures long-run averages of the present policy, frozen, on noise of its own. See `marl.trainers.evaluation`."""
        return evaluate(self.env, self.policy, steps=steps, burn_in=burn_in, seed=self.seed)

    @property
    def total_reward(self) -> PerReplica:
        """Returns the sum over all steps so far of the mean reward of the agents, [B]."""
        return self._logged_reward + self.interval.reward.mean(dim=1)

    def memory_ahead(self, steps: int) -> tuple[int, int]:
        """Counts the bytes beyond those of now that `steps` more steps take at once, and at most in time."""
        return 0, 0

    def state_dict(self) -> dict[str, Any]:
        """Returns a snapshot of everything that the run is, as tensors, numbers and strings.

        A class that has more adds `snapshot(more)`, see `marl.core.snapshot`.
        """
        with uncopied():
            learned = {name: module.state_dict() for name, module in self._modules().items()}
        return snapshot(
            {
                "t": self.t,
                "seed": self.seed,
                "network": fingerprint(self.env),
                "s": self.s,
                "a": self.a,
                "logged_reward": self._logged_reward,
                "interval": dict(vars(self.interval)),
                **learned,
            }
        )

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken. Errors: `CheckpointError` if it is from another configuration."""
        self._check_belongs(state)
        try:
            for name, module in self._modules().items():
                copied = isinstance(module, nn.Module)  # optimizers would share tensors with `state`
                module.load_state_dict(state[name] if copied else copy.deepcopy(state[name]))
        except (RuntimeError, KeyError, ValueError) as error:
            raise CheckpointError(f"the checkpoint is of another configuration: {' '.join(str(error).split())}") from None
        self.t, self.s, self.a = state["t"], state["s"].clone(), state["a"].clone()
        self._logged_reward = state["logged_reward"].clone()
        vars(self.interval).update(copy.deepcopy(state["interval"]))

    def _check_parts(self) -> None:
        if self.env is not self._env:
            self._change_env()
        for name, part in self._fixed.items():
            if getattr(self, name) is not part:
                raise ConfigError(
                    f"the {name} of this trainer was replaced, and much was made for the one that it had; make a new "
                    "trainer, which load_state_dict(state_dict()) of this one takes to where it is"
                )
        if isinstance(self.env, FiniteEnvironment) and not torch.equal(self.env.action_mask, self.env.pair_index >= 0):
            raise ConfigError(
                f"the legal actions of this {type(self.env).__name__} were written to, and its pairs were numbered by "
                "those that it had; make a new environment"
            )

    def _change_env(self) -> None:
        """Goes on with another environment if everything that was made for the one before fits it, too."""
        kind, uniforms = type(self._env), self._env.num_uniforms
        if type(self.env) is not kind or self.env.num_uniforms != uniforms:
            raise ConfigError(
                f"the env of this trainer was replaced by a {type(self.env).__name__} that takes its steps in another way "
                f"than the {kind.__name__} before; make a new trainer"
            )
        check_together(self.env, *self._fixed.values())
        self._env = self.env

    def _check_belongs(self, state: dict[str, Any]) -> None:
        """Checks before anything is taken over, as a compiled loop does not look whether a state exists."""
        lacks = {"t", "seed", "network", "s", "a", "logged_reward", "interval"} - state.keys()
        if lacks or vars(self.interval).keys() != state["interval"].keys():
            raise CheckpointError(f"the checkpoint is no trainer's: it lacks {', '.join(sorted(lacks)) or 'sums'}")
        s, a, env = state["s"], state["a"], self.env
        if state["seed"] != self.seed or s.shape != self.s.shape:
            raise CheckpointError(
                f"the checkpoint is of another configuration: seed {state['seed']} and [replicas, agents] "
                f"{list(s.shape)}, this run has seed {self.seed} and {list(self.s.shape)}"
            )
        if state["network"] != fingerprint(env):
            raise CheckpointError(
                "the checkpoint is of another configuration: its network, its numbers of states and actions, or its legal "
                f"actions are not those of this {type(env).__name__}"
            )
        if not env.contains(s, a):
            raise CheckpointError(
                "the checkpoint is damaged: it holds states or actions that the environment does not have"
            )
        sums = {"logged_reward": self._logged_reward, **vars(self.interval)}
        saved = {"logged_reward": state["logged_reward"], **state["interval"]}
        if any(isinstance(x, Tensor) and saved[name].shape != x.shape for name, x in sums.items()):
            raise CheckpointError("the checkpoint is damaged: its sums of rewards are not of these replicas and agents")

    def _timed_advance(self, steps: int) -> None:
        clock = time.perf_counter()
        self._advance(steps)
        self._seconds += time.perf_counter() - clock
        self._timed_steps += steps

    @abstractmethod
    def _advance(self, steps: int) -> None:
        """Moves t, s, a and all parameters `steps` steps ahead and adds each step to `self.interval`."""

    @abstractmethod
    def _modules(self) -> dict[str, Any]:
        """Returns name -> object with state_dict and load_state_dict: whatever is learned."""

    def _metrics(self) -> dict[str, float | np.ndarray]:
        return {}

    def _check_finite(self) -> None:
        first_bad = self.interval.finite.min().item()
        if first_bad < self.interval.steps:
            bad = torch.nonzero(self.interval.finite == first_bad).flatten().tolist()
            raise DivergedError(self.t - self.interval.steps + int(first_bad), bad, *self._culprit(bad[0]))

    def _culprit(self, b: int) -> tuple[str, str]:
        """Returns (what is not finite in replica b, what to do): rewards come before what is learned from them."""
        agents = torch.nonzero(~self.interval.reward[b].isfinite()).flatten().tolist()
        if agents:
            return f"the reward of agent {agents[0]}", f"look at what {type(self.env).__name__} pays"
        what = "the error of the critic" if not self.interval.loss[b].isfinite() else "the gradient of the policy"
        return what, "try smaller step sizes (critic_scheduler, actor_scheduler) or trainer.rescale=true"

    def _log(self) -> None:
        steps, agents = self.interval.steps, self.env.n
        rate = self._timed_steps / max(self._seconds, 1e-9)
        self._timed_steps, self._seconds = 0, 0.0
        agent_reward = (self.interval.reward / steps).numpy()
        metrics = {
            "train/average_reward": agent_reward.mean(axis=1),
            "train/agent_reward": agent_reward,
            "critic/td_error": (2.0 * self.interval.loss / (self.interval.taught * agents)).sqrt().numpy(),
            **self._metrics(),
            "perf/env_steps_per_second": rate,
            "perf/agent_steps_per_second": rate * agents * self.replicas * self.copies,
        }
        for logger in self.loggers:
            logger.log(self.t, metrics)
