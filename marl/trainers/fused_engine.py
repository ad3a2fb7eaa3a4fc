"""The fused engine of `ScalableActorCritic` moves the same state many steps per call, equal up to rounding."""

from typing import Any

import numpy as np
import torch

from marl.core.environment import finite_environment
from marl.core.errors import ConfigError
from marl.core.indexing import last_actions
from marl.core.scheduler import Scheduler
from marl.core.threads import spread
from marl.kernels.arguments import Layout, Progress, Room, Span, of_length
from marl.trainers.actor_critic import ActorCritic
from marl.trainers.fusible import as_arguments, check_done, form_of

CHUNK = 4096
"""Most steps for which a growing table makes room at a time; a power of two."""
CALL = 2**20
"""About how many agent-steps of a replica one call takes, or more in large networks: Ctrl-C is heard between calls."""
SHORTEST = 64
"""A growing table makes room for at least so many steps at a time, if `ENTRIES` allows."""
ENTRIES = 2**17
"""Most entries that a growing table makes room for at a time,"""
FEWEST = 8
"""or those of so many steps of a large network, which a call then takes at least."""


class FusedEngine:
    """This takes the steps of one trainer, compiled.

    Sizes are laid out once; everything else is asked of the trainer at every `advance`.

    It holds no trainer, so that a trainer that is let go takes its table along at once.
    """

    def __init__(self, trainer: ActorCritic):
        from marl.kernels import actor_critic, forms, workers  # numba takes its time: only where it is used
        from marl.kernels.rescaling import Fixed
        from marl.kernels.softmax_arithmetic import BLOCK

        env, critic = finite_environment(trainer.env, type(trainer).__name__), trainer.critic
        mask = env.action_mask
        small = torch.int16 if int(env.index.num_pairs.max()) < 2**15 else torch.int32
        self._kernel, self._forms = actor_critic, forms
        self._workers, self._block = workers, min(env.n, BLOCK)
        self._replicas, self._unscaled = trainer.replicas, Fixed(1.0)
        self._actions = of_length(mask.shape[2])
        self._layout = Layout(
            states=env.num_states.numpy().copy(),  # copies: torch moves what is given to other processes
            pair=env.pair_index.to(small).flatten().numpy(),
            last=last_actions(mask).to(small).flatten().numpy(),
            choice=(mask.sum(dim=2) > 1).to(torch.int8).flatten().numpy(),
            near=critic.neighborhood.index.numpy().copy().view(np.uint64),
            size=critic.neighborhood.size.numpy().copy(),
        )
        self._uniforms, self._step_work = env.num_uniforms, form_of(env).work
        self._dtype = torch.empty(0, dtype=critic.dtype).numpy().dtype
        self._room = self._rooms(0)
        self._laid_out = _unfrozen(form_of(trainer.policy)).laid_out()
        self._longest = 1 << (min(CHUNK, max(FEWEST, ENTRIES // env.n)).bit_length() - 1)
        self._longest_call = max(self._longest, CALL // env.n)  # a shorter call would never get past a cell

    @property
    def workspace(self) -> int:
        """Counts the bytes that the threads need at work: 8 numbers, a truth and U + 1 uniforms per agent, and blocks."""
        n, actions = len(self._layout.states), len(self._actions)
        each = 8 * (n * (8 + self._uniforms + 1) + self._block * (2 * actions + 9) + self._step_work) + n
        return self._workers.working(self._replicas) * each

    def _rooms(self, workers: int) -> Room:
        """Makes room for so many workers, with anything in it."""
        n = len(self._layout.states)
        s, next_s, a, next_a, z = (np.empty((workers, n), dtype=np.int64) for _ in range(5))
        slot, learns = np.empty((workers, n), dtype=np.uint64), np.empty((workers, n), dtype=np.bool_)
        q, r = np.empty((workers, n), self._dtype), np.empty((workers, n))
        drawn = np.empty((workers, n, self._uniforms + 1))
        return Room(
            s, next_s, a, next_a, z, slot, learns, q, r, drawn, np.empty((workers, self._step_work), dtype=np.int64)
        )

    def advance(self, trainer: ActorCritic, steps: int) -> None:
        """Moves `trainer`, the one it was made for, `steps` steps ahead, in calls of a bounded number of steps."""
        policy = _unfrozen(form_of(trainer.policy))
        given = *as_arguments(form_of(trainer.env), trainer.env), self._actions, self._layout
        goal = trainer.critic.objective.fused()
        with spread(self._replicas) as threaded:
            workers = self._workers.working(self._replicas) if threaded else 1
            if len(self._room.s) != workers:
                self._room = self._rooms(workers)
            self._forms.loop_for(self._kernel.lay_out, policy)(policy, self._actions, self._laid_out)
            try:
                end = trainer.t + steps
                while trainer.t < end:
                    self._call(trainer, min(end, self._call_until(trainer)) - trainer.t, threaded, given, goal)
            finally:
                self._forms.loop_for(self._kernel.take_back, policy)(policy, self._laid_out)

    def _call_until(self, trainer: ActorCritic) -> int:
        """Returns the step up to which one call goes: a long way, unless the table would grow before that."""
        t, table = trainer.t, trainer.critic.table
        if table is None or not table.grows:
            return t + self._longest_call
        far = self.room_until(t + self._longest_call - self._longest)
        return self.room_until(t) if table.growth(trainer.visits(far)) else far

    def room_until(self, t: int) -> int:
        """Returns the step up to which the table has room when it has room at step t.

        It is a matter of t alone, at powers of two first and then at multiples of the longest call. Where a table grows
        says where its entries stand, and how a run is cut into calls, which the clock decides, must not be seen in it.
        """
        cell = min(self._longest, max(SHORTEST, 1 << max(0, t.bit_length() - 1)))
        return (t // cell + 1) * cell

    def _call(self, trainer: ActorCritic, steps: int, threaded: bool, given: tuple[Any, ...], goal: Any) -> None:
        interval, critic = trainer.interval, trainer.critic
        if critic.table is not None:
            critic.table.make_room(trainer.visits(self.room_until(trainer.t)))
        progress = Progress(
            key=trainer.noise.keys,
            s=np.array(trainer.s.numpy(), dtype=np.int64, order="C"),
            a=np.array(trainer.a.numpy(), dtype=np.int64, order="C"),
            reward=interval.reward.numpy(),
            loss=interval.loss.numpy(),
            finite=interval.finite.numpy(),
            done=np.zeros(self._replicas, dtype=np.int64),
        )
        forms = self._laid_out, _unfrozen(form_of(critic)), goal
        try:
            self._take(trainer, steps, threaded, given, forms, progress)
        finally:  # Ctrl-C is heard when the kernel returns: what it did is done
            done = max(0, int(progress.done[-1]))
            trainer.s, trainer.a = torch.from_numpy(progress.s), torch.from_numpy(progress.a)
            interval.steps += done
            interval.taught += done
            trainer.t += done
        check_done(trainer.env, progress.done)

    def _take(self, trainer: Any, steps: int, threaded: bool, given: Any, forms: Any, progress: Progress) -> None:
        """Takes so many steps; given, forms: what every loop is called with."""
        sizes = step_sizes(trainer.alpha, trainer.t, steps), step_sizes(trainer.eta, trainer.t, steps)
        table = trainer.critic.table
        scales = self._unscaled if table is None else table.fused_sup_norm() or self._unscaled
        span = Span(trainer.t, trainer.interval.steps, *sizes)
        advance = self._kernel.advance if threaded else self._kernel.advance_in_turn
        self._forms.loop_for(advance, *forms)(*given, *forms, scales, self._room, progress, span)


def _unfrozen(form: Any) -> Any:
    if form is None:
        raise ConfigError("what was to be learned has been frozen; make the trainer anew")
    return form


def step_sizes(scheduler: Scheduler, first: int, steps: int) -> np.ndarray:
    """Asks `Scheduler.values`, of a length that a compiled loop may rely on. Errors: `ConfigError` if it is not."""
    values = np.ascontiguousarray(scheduler.values(first, steps), dtype=np.float64)
    if values.shape != (steps,):
        name = type(scheduler).__name__
        raise ConfigError(f"{name}.values was asked for {steps} step sizes and gave an array of shape {list(values.shape)}")
    return values
