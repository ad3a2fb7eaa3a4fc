"""Rules that firefighters may follow are policies here; nothing in them is learned."""

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from marl.core.checks import choice
from marl.core.environment import Environment
from marl.core.rule import DeterministicRule
from marl.envs.firefighters.env import Firefighters


class FightByLevel(DeterministicRule):
    """This is the base class of rules that go by the fire levels of an agent's own houses: implement `_urgency`.

    ties: which one of several equally urgent: `left`, the house of the lowest number; `right`, of the highest; `parity`,
    left for agents with an even row + column, right for odd ones (in a row: even and odd i).
    Errors: `ConfigError` if the environment is no `Firefighters`, or for other ties.
    """

    system = Firefighters
    hops = 1
    env: Firefighters
    _visited: Tensor
    _preference: Tensor

    def __init__(self, env: Environment, *, ties: str = "left", **run: Any):
        super().__init__(env, **run)
        odd = _odd(self.env)
        right = {"left": odd & False, "right": odd | True, "parity": odd}
        turned = right[choice("policy.ties", ties, tuple(right))] & (self.env.num_actions > 1)
        place = torch.arange(self.env.visited.shape[1])
        self.register_buffer("_preference", torch.where(turned[:, None], place, -place), persistent=False)
        self.register_buffer("_visited", self.env.visited.clamp(max=env.n - 1), persistent=False)  # without an agent: any

    @abstractmethod
    def _urgency(self, level: Tensor) -> Tensor:
        """Returns how urgent a house of these levels is, a whole number. Shapes: [*X] -> [*X]."""

    def _choose(self, s: Tensor) -> Tensor:
        urgency = self._urgency(s[..., self._visited])
        return (urgency * self._preference.shape[1] + self._preference).argmax(dim=-1)


class FightHigher(FightByLevel):
    """Every agent visits the house with the highest fire level among its own, which is the greedy rule.

    Agents see each other's houses and not each other's intentions, so several meet at one fire while others grow.
    ties, Errors: see `FightByLevel`.
    """

    def _urgency(self, level: Tensor) -> Tensor:
        return level


class FightLower(FightByLevel):
    """Every agent visits the house with the lowest fire level among its own that burn: what can be put out soon.

    Where nothing burns, all its houses are tied.
    ties, Errors: see `FightByLevel`.
    """

    def _urgency(self, level: Tensor) -> Tensor:
        return torch.where(level > 0, self.env.action_mask.shape[1] - level, 0)


class FightAlternately(DeterministicRule):
    """Agents are placed left and right in turn, and stay there whatever burns.

    Those with an even row + column (in a row: even i) always visit their first house, the others their last one. The turns
    are in space, since a rule has no memory; houses between the places burn unattended.
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
