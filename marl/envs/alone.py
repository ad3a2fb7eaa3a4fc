"""What agents can have together is at most what each could have alone, all around it as it likes, on a shared budget."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

ACCURACY = 1e-10
SWEEPS = 20_000
ROUNDS = 8
PRICES = np.concatenate(([0.0], 2.0 ** np.arange(-10, 7)))


class Alone(NamedTuple):
    """This is an agent that picks, in each of its S states, one of K moves: its own action and what others do to it.

    law [K, S, S]: the law of its next state; reward [K, S]: the most it earns; used [K]: what a move takes of the budget.
    """

    law: np.ndarray
    reward: np.ndarray
    used: np.ndarray


def relaxed(agents: Iterable[Alone], budget: float = 0.0) -> float:
    """Bounds the sum of the agents' average rewards under every policy that uses at most `budget` of all in a step.

    At any price x >= 0 a step earns no more than x budget + sum_i (r_i - x used_i), and the average of each term is at most
    that of the best moves of agent i alone; the best of many prices is taken. What agent i alone can have is bounded by
    max_s (T v - v) for any v, T one step of value iteration; v is iterated until that is exact to 1e-10.
    """
    counted: dict[tuple[bytes, ...], tuple[Alone, int]] = {}
    for agent in agents:
        key = tuple(part.tobytes() for part in agent)
        counted[key] = agent, counted.get(key, (agent, 0))[1] + 1
    alike = list(counted.values())
    prices = PRICES * max(float(np.ptp(agent.reward)) for agent, _ in alike)
    if not any(agent.used.any() for agent, _ in alike):
        prices = prices[:1]
    least = np.inf
    for _ in range(ROUNDS):
        bounds = prices * budget + sum(count * _averages(agent, prices) for agent, count in alike)
        k, least = int(bounds.argmin()), min(least, float(bounds.min()))
        prices = np.linspace(prices[max(k - 1, 0)], prices[min(k + 1, len(prices) - 1)], len(prices))
    return least


def _averages(agent: Alone, prices: np.ndarray) -> np.ndarray:
    """Bounds the best average of reward - price used. Shapes: [X] -> [X]."""
    paid = agent.reward - prices[:, None, None] * agent.used[:, None]
    law = agent.law.reshape(-1, agent.law.shape[2]).T
    value, least = np.zeros((len(prices), len(law))), np.full(len(prices), np.inf)
    for _ in range(SWEEPS):
        gain = (paid + (value @ law).reshape(paid.shape)).max(axis=1) - value
        least = np.minimum(least, gain.max(axis=1))
        if np.ptp(gain, axis=1).max() <= ACCURACY:
            break
        value += 0.9 * gain  # not all of it: a chain may be periodic
        value -= value[:, :1]
    return least
