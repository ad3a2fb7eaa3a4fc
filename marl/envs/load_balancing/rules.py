"""Rules by which dispatchers are known to choose a queue are policies here; nothing in them is learned."""

from typing import Any

import torch
from torch import Tensor

from marl.core.checks import choice
from marl.core.environment import Environment
from marl.core.rule import DeterministicRule, Rule
from marl.envs.load_balancing.env import LoadBalancing


class Keep(DeterministicRule):
    """This is no balancing at all: every job goes to the dispatcher's own queue, and agents are independent.

    Errors: `ConfigError` if the environment is no `LoadBalancing`.
    """

    system = LoadBalancing

    def _choose(self, s: Tensor) -> Tensor:
        return torch.zeros_like(s)


class _Looking(Rule):
    """These rules put the queues in reach into an order: fewer jobs first, then one's own, then by `ties`."""

    system = LoadBalancing
    hops = 1
    env: LoadBalancing
    _queues: Tensor
    _place: Tensor
    _alone: Tensor

    def __init__(self, env: Environment, *, ties: str = "cyclic", **run: Any):
        super().__init__(env, **run)
        queues, (n, actions) = self.env.queues, self.env.queues.shape
        cyclic = choice("policy.ties", ties, ("cyclic", "index")) == "cyclic"
        first = (torch.arange(n)[:, None] - queues) % n if cyclic else torch.arange(actions).expand(n, -1)
        missing = torch.arange(actions) >= self.env.num_actions[:, None]
        place = first.masked_fill(missing, n).argsort(dim=-1, stable=True).argsort(dim=-1)
        self._last = actions * self.env.action_mask.shape[1]
        self.register_buffer("_queues", queues, persistent=False)
        self.register_buffer("_place", place + missing * self._last, persistent=False)
        self.register_buffer("_alone", self.env.num_actions == 1, persistent=False)

    def _order(self, s: Tensor) -> Tensor:
        """Gives a number to every action, [*K, B, n, A]: the lower the earlier, `_last` and more where there is none."""
        return s[..., self._queues] * self._queues.shape[1] + self._place


class JoinShortestQueue(_Looking, DeterministicRule):
    """This is JSQ: a job goes to the queue of N_i with the fewest jobs, in a tie to oneself if that is one of them.

    It counts jobs, not the room that is left. Neighbors choose at the same time, often the same queue (herding).
    ties: which neighbor is next. `cyclic`: the first one going down from i, that is i - 1, ..., 0, n - 1, ..., i + 1, on a
    ring the same side for everybody; `index`: the lower index.
    Errors: `ConfigError` if the environment is no `LoadBalancing`.
    """

    def _choose(self, s: Tensor) -> Tensor:
        return self._order(s).argmin(dim=-1)


class OverflowOnly(_Looking, DeterministicRule):
    """A dispatcher keeps its job unless its own queue is full; then the job goes to the neighbor with the fewest jobs.

    Neighbors whose queues are full do not count; where all are, the job is kept. ties: as of `JoinShortestQueue`.
    Errors: `ConfigError` if the environment is no `LoadBalancing`.
    """

    _buffer: Tensor

    def __init__(self, env: Environment, **run: Any):
        super().__init__(env, **run)
        self.register_buffer("_buffer", self.env.buffer, persistent=False)

    def _choose(self, s: Tensor) -> Tensor:
        full = s >= self._buffer
        order = self._order(s).masked_fill(full[..., self._queues], self._last + 1)
        order[..., 0] = full * (self._last + 1) - 1
        return order.argmin(dim=-1)


class TwoChoices(_Looking):
    """This is the power of two random choices: of two different queues of N_i, drawn evenly, a job joins the shorter one.

    One's own queue is among those drawn from; ties are broken as by `JoinShortestQueue`. So a queue that comes before c of
    the m queues of N_i is joined with probability 2 c / (m (m - 1)). Without neighbors jobs are kept.
    ties: as of `JoinShortestQueue`. Source: Mitzenmacher 2001.
    Errors: `ConfigError` if the environment is no `LoadBalancing`.
    """

    _size: Tensor

    def __init__(self, env: Environment, **run: Any):
        super().__init__(env, **run)
        self.register_buffer("_size", self.env.num_actions[:, None], persistent=False)

    def _weights(self, s: Tensor) -> Tensor:
        place = self._order(s).argsort(dim=-1).argsort(dim=-1)
        behind = (self._size - 1 - place).clamp(min=0)
        behind[..., 0] += self._alone
        return behind
