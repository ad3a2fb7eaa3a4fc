"""Rules that firefighters may follow are policies here; nothing in them is learned."""

from typing import Any

import torch
from torch import Tensor

from marl.core.checks import choice
from marl.core.environment import Environment
from marl.core.rule import DeterministicRule
from marl.envs.firefighters.env import Firefighters


class FightHigher(DeterministicRule):
    """Every agent visits the house with the highest fire level among its own, which is the greedy rule.

    ties: which one of several equally high: `left`, the house of the lowest number; `right`, of the highest;
    `parity`, left for agents with an even row + column, right for odd ones (in a row: even and odd i).
    Errors: `ConfigError` if the environment is no `Firefighters`, or for other ties.
    """

    system = Firefighters
    hops = 1
    env: Firefighters
    _visited: Tensor
    _preference: Tensor

    def __init__(self, env: Environment, *, ties: str = "left", **run: Any):
        super().__init__(env, **run)
        way = choice("policy.ties", ties, ("left", "right", "parity"))
        right = {"left": torch.zeros_like, "right": torch.ones_like, "parity": lambda odd: odd}[way](_odd(self.env))
        actions = self.env.visited.shape[1]
        preference = torch.arange(actions) * torch.where(right & _manned(self.env), 1, -1)[:, None]
        self.register_buffer("_preference", preference, persistent=False)
        self.register_buffer("_visited", self.env.visited.clamp(max=env.n - 1), persistent=False)

    def _choose(self, s: Tensor) -> Tensor:
        return (s[..., self._visited] * self._preference.shape[1] + self._preference).argmax(dim=-1)


class FightAlternately(DeterministicRule):
    """Agents are placed left and right in turn, and stay there whatever burns.

    Those with an even row + column (in a row: even i) always visit their first house, the others their last one; the turns
    are in space, since a rule has no memory. Houses between the places burn unattended.
    Errors: `ConfigError` if the environment is no `Firefighters`.
    """

    system = Firefighters
    env: Firefighters
    _chosen: Tensor

    def __init__(self, env: Environment, **run: Any):
        super().__init__(env, **run)
        last = self.env.num_actions - 1
        self.register_buffer("_chosen", torch.where(_odd(self.env), last, 0), persistent=False)

    def _choose(self, s: Tensor) -> Tensor:
        return self._chosen.expand(s.shape)


def _odd(env: Firefighters) -> Tensor:
    """Tells which nodes have an odd row + column, [n]."""
    return env.positions.sum(dim=1) % 2 == 1


def _manned(env: Firefighters) -> Tensor:
    """Tells which nodes carry an agent, [n]."""
    return env.num_actions > 1
