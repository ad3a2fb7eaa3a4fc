"""The best policy of agents that see the states within kappa hops is looked for, by trying all rules or by ascent.

Ascent is the natural policy gradient of softmax tables with exact values, zeta'(a|x) ~ zeta(a|x) exp(eta A(x, a)) with
A(x, a) = E_pi[Q | x, a] - E_pi[Q | x] (x what an agent sees; Kakade 2001), for all agents at once. A step is taken only if
J rises; eta doubles then, and is quartered otherwise, so that nothing depends on the scale of rewards. Where it ends is a
local maximum: a lower bound on the best.
"""

from typing import NamedTuple

import numpy as np
import torch

from marl.core.checks import boolean, integer
from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.mirror import mirror_step
from marl.exact import poisson
from marl.exact.chain import Chain
from marl.exact.local_laws import LocalLaws
from marl.exact.recurrence import SeveralClassesError
from marl.exact.ties import LocalTables, Ties

MOST_RULES = 1024
"""So many deterministic rules are tried one by one."""
MOST_STEPS = 500
"""Steps of one ascent."""
SMALLEST_STEP = 1e-6
"""Largest exponent of a step below which an ascent is over."""
RISE = 1e-11
"""Smallest rise of J, relative to the span of the rewards, that is one."""
LEAST_CHANCE = 1e-9
"""What an ascent leaves to every action, so that none is lost for ever."""


class BestLocal(NamedTuple):
    """This is the best that was found.

    value: its average reward per agent and step, exact. policy: it itself. exhaustive: whether all deterministic rules
    were tried, so that none of them is better; else `value` is a lower bound on the best. ends: the values at which the
    ascents from every start ended, or of every rule that was tried.
    """

    value: float
    policy: LocalTables
    exhaustive: bool
    ends: list[float]


def best_local(
    env: NetworkedMDP,
    kappa: int = 1,
    *,
    symmetric: bool = False,
    starts: int = 10,
    seed: int = 0,
    memory: float = 4.0,
    laws: LocalLaws | None = None,
) -> BestLocal:
    """Finds the best deterministic rule of s_{N_i^kappa} if there are at most 1,024, else the best end of `ascend`.

    symmetric: agents that see alike do alike: one table of (s_i, how many agents at each distance are in which state).
    Rules under which the long-run average depends on the start are left out.
    Errors: `ConfigError` as `ascend`.
    """
    ties = Ties(env, integer("kappa", kappa, 0), boolean("symmetric", symmetric))
    if ties.rules > MOST_RULES:
        return ascend(env, kappa, symmetric=symmetric, starts=starts, seed=seed, memory=memory, laws=laws)
    climber = _Climber(ties, laws or LocalLaws(env), memory)
    found = []
    for rows in ties.every_rule():
        try:
            found.append((float(climber.solved(rows)[1].J), rows))
        except SeveralClassesError:
            continue
    if not found:
        raise ConfigError(f"under all {ties.rules} rules the long-run average depends on the start; use ascend")
    value, rows = max(found, key=lambda one: one[0])
    return BestLocal(value, ties.policy(rows), True, [value for value, _ in found])


def ascend(
    env: NetworkedMDP,
    kappa: int = 1,
    *,
    symmetric: bool = False,
    starts: int = 10,
    seed: int = 0,
    memory: float = 4.0,
    laws: LocalLaws | None = None,
) -> BestLocal:
    """Climbs from the uniform policy and from `starts` - 1 random ones to policies zeta_i(a_i | s_{N_i^kappa}).

    Random starts have rows that are uniform on the simplex, drawn from `seed`.
    Errors: `ConfigError` if the joint state or the tables are too large, with sizes, for an environment that does not state
    its law, for agents that differ where they should do alike, and for arguments out of range.
    """
    ties = Ties(env, integer("kappa", kappa, 0), boolean("symmetric", symmetric))
    climber = _Climber(ties, laws or LocalLaws(env), memory)
    draw = np.random.default_rng(integer("seed", seed, 0))
    begins = [ties.uniform()]
    for _ in range(integer("starts", starts, 1) - 1):
        rows = draw.exponential(size=ties.legal.shape) * ties.legal
        begins.append(rows / rows.sum(axis=1, keepdims=True))
    found = [climber.climb(rows) for rows in begins]
    value, rows = max(found, key=lambda one: one[0])
    return BestLocal(value, ties.policy(rows), False, [value for value, _ in found])


class _Climber:
    """This evaluates rows exactly and climbs from them."""

    def __init__(self, ties: Ties, laws: LocalLaws, memory: float):
        self.ties, self.laws, self.memory = ties, laws, memory

    def solved(self, rows: np.ndarray) -> tuple[Chain, poisson.Solution]:
        """Makes the chain of the policy with these rows, and J."""
        chain = Chain(self.laws.env, self.ties.policy(rows), laws=self.laws, memory=self.memory)
        return chain, poisson.solve(chain, chain.rewards().mean(axis=1, keepdims=True))

    def climb(self, rows: np.ndarray) -> tuple[float, np.ndarray]:
        """Ascends from these rows; returns (J, rows) of the end, as a deterministic rule where that is no worse."""
        chain, solution = self.solved(rows)
        value = float(solution.J)
        rise = RISE * max(float(np.ptp(np.concatenate([table.reshape(-1) for table in self.laws.reward]))), 1e-300)
        eta = None
        for _ in range(MOST_STEPS):
            advantage = self._advantage(chain, solution, rows)
            largest = float(np.abs(advantage).max())
            if largest == 0.0:
                break
            eta = 1.0 / largest if eta is None else eta
            better = None
            while better is None and eta * largest > SMALLEST_STEP:
                moved = self._moved(rows, advantage, eta)
                chain, solution = self.solved(moved)
                if float(solution.J) > value + rise:
                    better = moved
                eta *= 2.0 if better is not None else 0.25
            if better is None:
                break
            rows, value = better, float(solution.J)
        return self._rounded(rows, value)

    def _advantage(self, chain: Chain, solution: poisson.Solution, rows: np.ndarray) -> np.ndarray:
        """Computes A [K, A] of rows that are visited; zero at others and at illegal actions."""
        q = self.ties.mean_q(chain, poisson.stationary(chain).numpy(), solution.V.numpy()[:, 0])
        return np.where(self.ties.legal, q - (rows * q).sum(axis=1, keepdims=True), 0.0)

    def _moved(self, rows: np.ndarray, advantage: np.ndarray, eta: float) -> np.ndarray:
        log_rows = np.log(rows, out=np.full(rows.shape, -np.inf), where=rows > 0.0)
        moved = mirror_step(torch.from_numpy(log_rows), torch.from_numpy(advantage), 1.0, eta).exp().numpy()
        moved = np.maximum(moved, LEAST_CHANCE) * self.ties.legal
        return moved / moved.sum(axis=1, keepdims=True)

    def _rounded(self, rows: np.ndarray, value: float) -> tuple[float, np.ndarray]:
        """Takes the likeliest action of every row instead, if that is no worse."""
        rule = np.zeros(rows.shape)
        rule[np.arange(len(rows)), rows.argmax(axis=1)] = 1.0
        try:
            rounded = float(self.solved(rule)[1].J)
        except (SeveralClassesError, poisson.TooSlowError):
            return value, rows
        return (rounded, rule) if rounded >= value else (value, rows)
