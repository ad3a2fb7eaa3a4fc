"""The optimum of a small network is what one mind that sees all states and chooses all actions can earn.

No policy earns more, whatever it sees or remembers. It is found by value iteration over joint states, h <- T h, with
(T h)(s) = max_a Q(s, a). Every sweep brackets it: with d = T h - h,

    average reward     min d <= J* <= max d                                            for any h
    discounted         T h + gamma / (1 - gamma) min d <= V* <= T h + gamma / (1 - gamma) max d

(T is monotone and T (h + c) = T h + gamma c, so T^k h >= h + k min d at gamma = 1, and so on.) Between two backups the
chosen actions are followed for a while (modified policy iteration, Puterman and Shin 1978), which costs far less.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from marl.core.checks import number
from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.exact.backup import JointBackup
from marl.exact.local_laws import LocalLaws
from marl.exact.values import folded

MOST_BACKUPS = 20_000
TRIAL = 20
"""Backups in which the bracket has to halve, or steps are halved: nearly periodic chains want that, early or late."""
PATIENCE = 100
"""Backups without any progress after which the bracket is as narrow as it gets."""
FOLLOWED = 50
"""Most steps for which chosen actions are followed between two backups."""


class Optimum(NamedTuple):
    """This is the most that can be earned per agent, and how.

    low, high: a bracket on it, rounding included. Average reward: on J*, per agent and step; where J* depends on the
    start, on all of its values. Discounted: on the mean over all joint states of V*(s).
    values [X]: V* up to a constant (average reward), or V*. actions [X, n]: an optimal joint action of every joint state,
    numbered in mixed radix with agent 0 most significant; with a temperature the likeliest one. backups: how many.
    """

    low: float
    high: float
    values: Float[Tensor, "X"]
    actions: Int64[Tensor, "X n"]
    backups: int


def optimum(
    env: NetworkedMDP,
    *,
    gamma: float = 1.0,
    temperature: float = 0.0,
    tolerance: float = 1e-10,
    memory: float = 4.0,
    laws: LocalLaws | None = None,
) -> Optimum:
    """Finds the centralized optimum of the average reward (gamma = 1), or of discounted rewards (gamma < 1).

    temperature tau: each step earns tau / n times the entropy of the joint policy as well, so that the maximum over a
    becomes (tau / n) log sum_a exp(n Q(s, a) / tau). tolerance: wanted width of the bracket, relative to the span of
    the rewards; the bracket is what was reached. memory: GiB that the arrays over all joint pairs may take.

    Errors: `ConfigError` with sizes and memory where the joint pairs are too many, for an environment that does not state
    its law, and for arguments out of range.
    """
    gamma, temperature = number("gamma", gamma, 0.0, 1.0), number("temperature", temperature, 0.0)
    tolerance, memory = number("tolerance", tolerance, 0.0), number("memory", memory, 0.0)
    laws = laws or LocalLaws(env)
    if laws.env is not env:
        raise ConfigError("the laws are of another environment than the one asked for")
    search = _Search(JointBackup(laws, memory), gamma, temperature)
    while not search.over(tolerance):
        search.improve()
    return search.result()


class _Search:
    """This is value iteration, where it stands: h, the last backup, and the bracket so far."""

    def __init__(self, backup: JointBackup, gamma: float, temperature: float):
        self.backup, self.gamma, self.temperature = backup, gamma, temperature
        self.h = np.zeros(backup.num_states)
        self.low, self.high, self.step = -np.inf, np.inf, 1.0
        self.widths: list[float] = []
        self._back_up()

    def over(self, tolerance: float) -> bool:
        """Says whether the bracket is narrow enough, or does not get narrower."""
        count, width = len(self.widths), self.high - self.low
        narrow = tolerance * float(np.ptp(self.backup.rewards)) + 4.0 * self._rounding()
        if count >= TRIAL and width > self.widths[-TRIAL] / 2.0:
            self.step = 0.5
        stuck = count > PATIENCE and width >= self.widths[-PATIENCE] * (1.0 - 1e-6)
        return width <= narrow or stuck or count == MOST_BACKUPS

    def improve(self) -> None:
        """Takes the backup's values, follows its actions for some steps where that is cheap, and makes the next backup."""
        span = np.ptp(self.change)
        self._add(self.change)
        if self.backup.follows and not self.temperature:
            rewards, rows = self.backup.following(self.pairs)
            for _ in range(FOLLOWED):
                change = rewards + self.gamma * folded(rows, self.h[:, None])[:, 0] - self.h
                if np.ptp(change) <= span / 10.0:
                    break
                self._add(change)
        self._back_up()

    def result(self) -> Optimum:
        """Puts together what was found."""
        values = self.h + self.change
        if self.gamma < 1.0:
            values = values + self.gamma / (1.0 - self.gamma) * (self.change.min() + self.change.max()) / 2.0
        actions = torch.from_numpy(self.backup.actions(self.pairs))
        return Optimum(self.low, self.high, torch.from_numpy(values), actions, len(self.widths))

    def _add(self, change: np.ndarray) -> None:
        self.h = self.h + self.step * (change - (change.min() + change.max()) / 2.0)

    def _back_up(self) -> None:
        q = self.backup.q(self.h, self.gamma)
        best, self.pairs = self.backup.best(q)
        self.change = (self.backup.soft(q, self.temperature) if self.temperature else best) - self.h
        low, high = float(self.change.min()), float(self.change.max())
        if self.gamma < 1.0:
            mean, more = float((self.h + self.change).mean()), self.gamma / (1.0 - self.gamma)
            low, high = mean + more * low, mean + more * high
        slack = self._rounding()
        self.low, self.high = max(self.low, low - slack), min(self.high, high + slack)
        self.widths.append(self.high - self.low)

    def _rounding(self) -> float:
        """Bounds what rounding can have changed: a few operations per pair of an agent on numbers not larger than these."""
        parts = self.h, self.h + self.change, self.backup.rewards
        largest = sum(float(np.abs(part).max()) for part in parts) + self.temperature
        operations = 4 * (sum(self.backup.laws.num_pairs) + self.backup.n + 2)
        amplified = 1.0 if self.gamma == 1.0 else 1.0 / (1.0 - self.gamma)
        return operations * float(np.finfo(float).eps) * largest * amplified
