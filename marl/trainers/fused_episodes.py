"""The fused engine of `DiscountedActorCritic` runs episodes in one loop, equal up to rounding."""

from typing import Any

from marl.kernels.arguments import Progress, Span
from marl.trainers.actor_critic import ActorCritic
from marl.trainers.fused_engine import FusedEngine, step_sizes


class FusedEpisodes(FusedEngine):
    """This is `FusedEngine` with a kernel of its own.

    Fresh starts of a call are drawn before it: there is no compiled reset.
    """

    def __init__(self, trainer: ActorCritic, horizon: int):
        from marl.kernels import episodes  # numba takes its time: only where it is used

        super().__init__(trainer)
        self._episodes: Any = episodes
        self._horizon = horizon

    @property
    def workspace(self) -> int:
        """Counts that of every engine, 5 numbers per pair of an episode, rows of all agents, and a call's fresh starts."""
        n, actions = len(self._layout.states), len(self._actions)
        pairs = self._workers.working(self._replicas) * (5 * (self._horizon + 1) + 2 * actions + 2)
        starts = self._replicas * (self._uniforms + 2) * (self._longest_call // self._horizon + 1)
        return super().workspace + 8 * n * (pairs + starts)

    def _take(self, trainer: Any, steps: int, threaded: bool, given: Any, forms: Any, progress: Progress) -> None:
        m, end = trainer.t // self._horizon, (trainer.t + steps) // self._horizon
        sizes = step_sizes(trainer.alpha, trainer.t, steps), step_sizes(trainer.eta, m, end - m)
        span = Span(trainer.t, trainer.interval.steps, *sizes)
        fresh_s, fresh_u = trainer.starts(m + 1, max(1, end - m))  # at least one, so that there is an array to hand over
        episode = trainer.episode
        arrays = (part.numpy() for part in (episode.weight, episode.s, episode.a, episode.running, episode.ended))
        episodes = self._episodes.Episodes(*arrays, fresh_s.numpy(), fresh_u.contiguous().numpy())
        advance = self._episodes.advance if threaded else self._episodes.advance_in_turn
        self._forms.loop_for(advance, *forms)(*given, *forms, self._room, progress, span, episodes)
