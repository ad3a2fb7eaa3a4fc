"""Localized policy iteration with exact values: evaluate what an agent's actions are worth where it sees x, then improve.

    Q(s, a) = (1/n) sum_i r_i + gamma E[V(s') | s, a],  V of the policy, with tau / n times its entropies where tau > 0
    Q_i(x, a_i) = sum over s with s_{N_i^kappa} = x of w(s) E[Q | s, a_i] / sum w
    zeta_i(a|x) <- zeta_i(a|x)^(1 - beta) exp(beta n Q_i(x, a) / tau)          improvement=soft
    zeta_i(a|x) <- zeta_i(a|x) exp(eta n Q_i(x, a))                            improvement=kl

up to a factor per (i, x), for all agents at once or in turn, each after a new evaluation. Sources: Zhang, Qu, Xu, Lin,
Chen, Wierman 2022 (2211.17116) for soft steps and a discount, Chakraborty et al. 2026 (2602.16966) for KL steps in turn
and the average reward. The discounted objective is the mean of V over all joint states.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from marl.core.checks import choice, integer, number
from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.mirror import mirror_step
from marl.exact import poisson
from marl.exact.chain import Chain
from marl.exact.discounted import discounted_solution
from marl.exact.local_laws import LocalLaws
from marl.exact.ties import LocalTables, Ties


class LocalIteration(NamedTuple):
    """This is where an iteration ended.

    values: the objective before the first improvement and after each, per agent: J, or the mean of V over joint states.
    policy: the last one. settled: whether the last improvement (in turn: the last one of
    every agent) changed the objective by no more than the tolerance.
    """

    values: list[float]
    policy: LocalTables
    settled: bool


def localized_policy_iteration(
    env: NetworkedMDP,
    kappa: int = 1,
    *,
    improvement: str = "kl",
    schedule: str = "all",
    gamma: float = 1.0,
    temperature: float = 0.1,
    damping: float = 1.0,
    eta: float = 0.5,
    weights: str = "visits",
    improvements: int = 100,
    tolerance: float = 1e-9,
    memory: float = 4.0,
) -> LocalIteration:
    """Iterates from the uniform policy of s_{N_i^kappa}, each agent with its own, until the objective stays where it is.

    improvement: `soft`, which uses temperature and damping (beta in (0, 1]) and earns tau / n times the entropies, or
    `kl`, which uses eta. schedule: `all` agents at once, or `in_turn`, where every improvement is of a single agent.
    gamma: 1 = average reward. weights: w, how joint states that look alike to an agent count, by `visits` (the stationary
    law) or `uniform`. improvements: at most so many.
    Errors: `ConfigError` if joint states or tables are too many, and for arguments out of range.
    """
    soft = choice("improvement", improvement, ("soft", "kl")) == "soft"
    in_turn = choice("schedule", schedule, ("all", "in_turn")) == "in_turn"
    visits = choice("weights", weights, ("visits", "uniform")) == "visits"
    gamma, tolerance = number("gamma", gamma, 0.0, 1.0), number("tolerance", tolerance, 0.0)
    temperature, damping = number("temperature", temperature, 0.0), number("damping", damping, 0.0, 1.0)
    if soft and temperature * damping == 0.0:
        raise ConfigError("soft improvements need a temperature and a damping above 0; improvement=kl has none")
    keep, gain = (1.0 - damping, damping / temperature) if soft else (1.0, number("eta", eta, 0.0))
    ties = Ties(env, integer("kappa", kappa, 0), symmetric=False)
    evaluation = _Evaluation(ties, LocalLaws(env), gamma, temperature if soft else 0.0, visits, memory)
    log_rows = np.log(ties.uniform(), out=np.full(ties.legal.shape, -np.inf), where=ties.legal)
    value, q = evaluation.of(log_rows)
    values, lap, settled = [value], env.n if in_turn else 1, False
    for count in range(integer("improvements", improvements, 1)):
        moved = mirror_step(torch.from_numpy(log_rows), torch.from_numpy(env.n * q), keep, gain).numpy()
        log_rows = np.where((ties.agent == count % lap)[:, None], moved, log_rows) if in_turn else moved
        value, q = evaluation.of(log_rows)
        values.append(value)
        settled = len(values) > lap and abs(values[-1] - values[-1 - lap]) <= tolerance
        if settled:
            break
    return LocalIteration(values, ties.policy(np.exp(log_rows)), settled)


class _Evaluation:
    """This evaluates policies exactly."""

    def __init__(self, ties: Ties, laws: LocalLaws, gamma: float, temperature: float, visits: bool, memory: float):
        self.ties, self.laws, self.gamma, self.temperature = ties, laws, gamma, temperature
        self.visits, self.memory = visits, memory

    def of(self, log_rows: Float[np.ndarray, "K A"]) -> tuple[float, Float[np.ndarray, "K A"]]:
        """Returns (the objective, Q of every row and action)."""
        chain = Chain(self.laws.env, self.ties.policy(np.exp(log_rows)), laws=self.laws, memory=self.memory)
        rewards = chain.rewards().mean(axis=1) + self.temperature / chain.n * self._entropy(chain)
        if self.gamma < 1.0:
            solution = discounted_solution(chain, self.gamma, rewards[:, None])
            values = (solution.V + solution.J / (1.0 - self.gamma)).numpy()[:, 0]
            objective = float(values.mean())
        else:
            solution = poisson.solve(chain, rewards[:, None])
            values, objective = solution.V.numpy()[:, 0], float(solution.J)
        weight = np.full(chain.num_states, 1.0 / chain.num_states)
        if self.visits:
            weight = poisson.stationary(chain).numpy()
        return objective, self.ties.mean_q(chain, weight, values, self.gamma)

    def _entropy(self, chain: Chain) -> Float[np.ndarray, "X"]:
        """Sums the entropies of all agents' policies in every joint state."""
        total = np.zeros(chain.sizes)
        for i, table in enumerate(chain.tables):
            each = -(table * np.log(table, out=np.zeros_like(table), where=table > 0.0)).sum(axis=-1)
            total += each.reshape([chain.sizes[j] if j in chain.seen[i] else 1 for j in range(chain.n)])
        return total.reshape(-1)
