"""A number of vehicles that are kept waiting which no signals get below is computed here."""

import numpy as np

from marl.core.checks import size
from marl.core.errors import ConfigError
from marl.envs.alone import Alone, relaxed
from marl.envs.traffic.streets import SIDES

MAX_STATES = 2**11
"""Most states of the cells at the side of one intersection."""


def sides_alone(arrival: np.ndarray, outside: np.ndarray, capacity: int) -> float:
    """Bounds the sum of all intersections' average rewards under every policy from above.

    Every intersection has a signal of its own and the cells at the side of the grid, where vehicles come in; others are
    left out, and served cells send if they like. docs/systems/traffic.md proves it.

    arrival [n, 4]: probability that a vehicle comes to a cell. outside [n, 4]: whether it is at the side.
    Errors: `ConfigError` if the cells at the side of one intersection have more than `MAX_STATES` states.
    """
    cells = [np.flatnonzero(at_side) for at_side in outside]
    states = 2 * (capacity + 1) ** max(map(len, cells))
    if states > MAX_STATES:
        raise ConfigError(
            f"env.capacity={capacity} gives the cells at the side of an intersection {size(states)} states, at most "
            f"{MAX_STATES} can be solved for; choose a smaller one"
        )
    return relaxed(_intersection(p[at], at % 2, capacity) for p, at in zip(arrival, cells, strict=True))


def _intersection(arrival: np.ndarray, axis: np.ndarray, capacity: int) -> Alone:
    """Makes an intersection, state axis (C + 1)^m + sum_d k_d (C + 1)^d, that may send from any of its served cells."""
    place = (capacity + 1) ** np.arange(len(arrival))
    contents = (capacity + 1) ** len(arrival)
    green, number = np.divmod(np.arange(2 * contents), contents)
    vehicles = number[:, None] // place % (capacity + 1)
    served = (axis == green[:, None]) & (vehicles > 0)
    moves = [(False, np.zeros(len(arrival), dtype=bool))]
    moves += [(True, np.array(sends, dtype=bool)) for sends in np.ndindex(*[2] * len(arrival))]
    law, reward = np.zeros((len(moves), len(green), len(green))), np.zeros((len(moves), len(green)))
    for k, (hold, sends) in enumerate(moves):
        sent = served & sends
        reward[k] = -((vehicles - sent).sum(axis=1) + ((vehicles == capacity) * arrival).sum(axis=1)) / SIDES
        after = (green if hold else 1 - green) * contents + ((vehicles - sent) * place).sum(axis=1)
        for come in np.ndindex(*[2] * len(arrival)):
            p = np.where(vehicles < capacity, np.where(come, arrival, 1.0 - arrival), 1.0 - np.array(come)).prod(axis=1)
            likely = np.flatnonzero(p)
            law[k, likely, after[likely] + int((np.array(come) * place).sum())] += p[likely]
    return Alone(law, reward, np.zeros(len(moves)))
