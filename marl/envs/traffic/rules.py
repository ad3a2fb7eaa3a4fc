"""Rules that traffic signals are known to follow are policies here; nothing in them is learned."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.rule import DeterministicRule
from marl.envs.per_agent import integers
from marl.envs.traffic.env import TrafficSignals

ROUNDING = 1e-9
"""Pressures closer than this are equal."""


class FixedTime(DeterministicRule):
    """A fixed-time signal changes every `hold` steps, whatever the traffic (Webster 1958).

    An axis stays `hold` steps, the last one all red: hold - 1 slots of green in a cycle of 2 hold steps. All signals start
    together.
    hold: one for all replicas or one per replica (which scans a grid in one rollout); at least 2, at most `env.elapsed`.
    Errors: `ConfigError` if the environment is no `TrafficSignals`, or its states do not count so many steps.
    """

    system = TrafficSignals
    env: TrafficSignals
    _hold: Tensor

    def __init__(self, env: Environment, *, hold: int | Sequence[int] = 4, **run: Any):
        super().__init__(env, **run)
        holds = torch.from_numpy(integers("policy.hold", hold, self.replicas, "replica", 2))
        if int(holds.max()) > self.env.elapsed:
            raise ConfigError(
                f"policy.hold={int(holds.max())} is more steps than a state counts, env.elapsed={self.env.elapsed}; "
                f"choose env.elapsed={int(holds.max())} or a shorter hold"
            )
        self.register_buffer("_hold", holds[:, None], persistent=False)

    @classmethod
    def choices(cls, env: Environment) -> Mapping[str, Sequence[float]]:
        """The best hold is taken among those that a state of `env` can count."""
        longest = env.elapsed if isinstance(env, TrafficSignals) else 1
        return {"hold": range(2, longest + 1)} if longest > 1 else {}

    def _choose(self, s: Tensor) -> Tensor:
        return (self.env.read(s).elapsed >= self._hold - 1).long()


class LongestQueue(DeterministicRule):
    """A signal advances iff more vehicles stand at its red lights than at its green ones; at a tie it holds.

    Errors: `ConfigError` if the environment is no `TrafficSignals`.
    """

    system = TrafficSignals
    env: TrafficSignals

    def _choose(self, s: Tensor) -> Tensor:
        signals = self.env.read(s)
        return _other_is_larger(signals.vehicles, signals.axis)


class MaxPressure(DeterministicRule):
    """A signal advances iff the pressure of the red axis is larger than that of the green one (Varaiya 2013).

    The pressure of a cell is its vehicles less those of the cells ahead, straight on with weight 1 - l_i and to the left
    with l_i (0 outside the grid); that of an axis is the sum over its two cells. At a tie the signal holds. It knows
    the l_i, and does not look at what the present slot serves.
    Errors: `ConfigError` if the environment is no `TrafficSignals`.
    """

    system = TrafficSignals
    env: TrafficSignals
    hops = 1

    def _choose(self, s: Tensor) -> Tensor:
        signals, left = self.env.read(s), self.env.left[:, None]
        straight_on, to_the_left = self.env.onward(signals.vehicles)
        ahead = (1.0 - left) * straight_on + left * to_the_left
        return _other_is_larger(signals.vehicles - ahead, signals.axis)


def _other_is_larger(weight: Tensor, axis: Tensor) -> Tensor:
    """Tells (1 or 0) whether the axis with the red light has more weight. Shapes: weight [*X, n, 4], axis [*X, n]."""
    east_west_ahead = (weight[..., 1::2] - weight[..., 0::2]).sum(dim=-1)
    return (east_west_ahead * (1 - 2 * axis) > ROUNDING).long()
