"""The compiled engine of `ScalableActorCritic`: the same state, many steps per call, equal up to rounding."""

from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch.optim import SGD

from marl.core.environment import finite_environment
from marl.core.errors import ConfigError
from marl.core.fused import (
    FusedSoftmax,
    FusedTable,
    action_count,
    arguments,
    check_states,
    compiled_step,
    last_actions,
    refusal,
    spread,
)
from marl.core.scheduler import Scheduler

if TYPE_CHECKING:
    from marl.trainers.compiled import CompiledActorCritic

Form = TypeVar("Form", FusedTable, FusedSoftmax)

CHUNK = 4096
"""Most steps for which a hash table makes room at a time; a power of two."""
CALL = 2**20
"""About how many agent-steps one call takes: Ctrl-C is heard between calls."""
SHORTEST = 64
"""A hash table makes room for at least so many steps at a time, if `ENTRIES` allows."""
ENTRIES = 2**17
"""Most entries that a hash table makes room for at a time."""


def obstacle(trainer: "CompiledActorCritic") -> str | None:
    """Why the steps of `trainer` cannot be compiled, or None."""
    if special := list(trainer.special_optimizers().values()):
        kind = type(special[0])
        return f"{kind.__name__}{' with options' if kind is SGD else ''} is not plain SGD"
    forms = (trainer.policy, trainer.policy.fused()), (trainer.critic, trainer.critic.fused(0))
    for part, form in forms:
        if reason := refusal(part, form):
            return reason
    return refusal(trainer.env, compiled_step(trainer.env))


class FusedEngine:
    """Steps of one trainer, compiled. What does not change is laid out once; everything else stays in the trainer.

    It holds no trainer, so that a trainer that is let go takes its table along at once.
    """

    def __init__(self, trainer: "CompiledActorCritic"):
        from marl.kernels import actor_critic, workers  # numba takes its time: only where it is used
        from marl.kernels.arguments import Layout

        env, critic = finite_environment(trainer.env, type(trainer).__name__), trainer.critic
        table, theta = _unfrozen(critic.fused(0)), _unfrozen(trainer.policy.fused()).theta.numpy()
        self._kernel: Any = actor_critic
        self._workers = workers
        self._step, self._numbers = arguments(env)
        self._actions = action_count(env.action_mask.shape[2])
        self._layout = Layout(
            near=critic.neighborhood.index.numpy().view(np.uint64),
            stride=table.keys.stride.numpy(),
            size=critic.neighborhood.size.numpy(),
            base=table.keys.base.numpy(),
            dummy=table.dummy,
            states=env.num_states.numpy(),
            pair=env.pair_index.flatten().int().numpy(),
            last=last_actions(env.action_mask).numpy(),
            choice=(env.action_mask.sum(dim=2) > 1).flatten().to(torch.int8).numpy(),
            legal=env.action_mask.numpy(),
            keep=-1 if table.keys.exact else 2**63 - 1,
        )
        self._policy = np.empty((trainer.replicas, 2 * env.action_mask.numel()), dtype=theta.dtype)
        self._no_maxima = np.empty((trainer.replicas, 0), dtype=theta.dtype)
        self._grows = table.table.size > 0
        self._longest = 1 << (max(1, min(CHUNK, ENTRIES // env.n)).bit_length() - 1)
        self._longest_call = self._longest if self._grows else max(1, CALL // env.n)

    @property
    def workspace(self) -> int:
        """Bytes that the threads need while they work: 17 numbers and U + 1 uniforms per agent, and a block of rows."""
        n, _, actions = self._layout.legal.shape
        block = min(n, self._kernel.BLOCK) * (2 * actions + 2)
        each = n * (17 + self._numbers.uniforms + 1) + block + self._numbers.work
        return 8 * self._workers.working(len(self._policy)) * each

    def advance(self, trainer: "CompiledActorCritic", steps: int) -> None:
        """Moves `trainer`, the one it was made for, `steps` steps ahead, in calls of a bounded number of steps."""
        theta = _unfrozen(trainer.policy.fused()).theta.numpy()
        with spread(len(self._policy)) as threaded:
            self._kernel.begin(self._actions, theta, self._layout.legal, self._policy)
            try:
                end = trainer.t + steps
                while trainer.t < end:
                    self._call(trainer, min(end, self._call_until(trainer.t)) - trainer.t, threaded)
            finally:
                self._kernel.finish(theta, self._layout.legal, self._policy)

    def _call_until(self, t: int) -> int:
        return self.room_until(t) if self._grows else t + self._longest_call

    def room_until(self, t: int) -> int:
        """The step up to which the table has room when it has room at step t.

        It is a matter of t alone, at powers of two first and then at multiples of the longest call. Where a table grows
        says where its entries stand, and how a run is cut into calls, which the clock decides, must not be seen in it.
        """
        cell = min(self._longest, max(SHORTEST, 1 << max(0, t.bit_length() - 1)))
        return (t // cell + 1) * cell

    def _call(self, trainer: "CompiledActorCritic", steps: int, threaded: bool) -> None:
        interval = trainer.interval
        progress = self._kernel.Progress(
            key=trainer.noise.keys,
            s=np.array(trainer.s.numpy(), dtype=np.int64, order="C"),
            a=np.array(trainer.a.numpy(), dtype=np.int64, order="C"),
            reward=interval.reward.numpy(),
            loss=interval.loss.numpy(),
            finite=interval.finite.numpy(),
            done=np.zeros(len(self._policy), dtype=np.int64),
        )
        learned = self._learned(trainer, trainer.visits(self.room_until(trainer.t)))
        parts = self._step, self._numbers, self._actions, self._layout, learned, progress
        try:
            self._take(trainer, steps, threaded, parts)
        finally:  # Ctrl-C is heard when the kernel returns: what it did is done
            done = max(0, int(progress.done[-1]))
            trainer.s, trainer.a = torch.from_numpy(progress.s), torch.from_numpy(progress.a)
            interval.steps += done
            interval.taught += done
            trainer.t += done
        check_states(trainer.env, progress.done)
        if (learned.used > learned.width).any():
            raise AssertionError("the table of the critic was full: entries may be lost; please report this")

    def _take(self, trainer: Any, steps: int, threaded: bool, parts: tuple[Any, ...]) -> None:
        """Takes so many steps; parts: what every kernel is called with."""
        sizes = step_sizes(trainer.alpha, trainer.t, steps), step_sizes(trainer.eta, trainer.t, steps)
        span = self._kernel.Span(trainer.t, trainer.interval.steps, *sizes, trainer.discount)
        advance = self._kernel.advance if threaded else self._kernel.advance_in_turn
        advance(*parts, span)

    def _learned(self, trainer: "CompiledActorCritic", visits: int) -> Any:
        """What is learned, with room in the table for so many visits."""
        table = _unfrozen(trainer.critic.fused(visits))
        return self._kernel.Learned(
            policy=self._policy,
            values=table.values,
            table=table.table,
            width=table.width,
            used=table.used,
            mu=trainer.critic.mu.numpy(),
            maxima=self._no_maxima if table.maxima is None else table.maxima.numpy(),
        )


def step_sizes(scheduler: Scheduler, first: int, steps: int) -> np.ndarray:
    """`Scheduler.values`, of a length that a compiled loop may rely on. Errors: `ConfigError` if it is not."""
    values = np.ascontiguousarray(scheduler.values(first, steps), dtype=np.float64)
    if values.shape != (steps,):
        name = type(scheduler).__name__
        raise ConfigError(f"{name}.values was asked for {steps} step sizes and gave an array of shape {list(values.shape)}")
    return values


def _unfrozen(form: Form | None) -> Form:
    if form is None:
        raise ConfigError("what was to be learned has been frozen; make the trainer anew")
    return form
