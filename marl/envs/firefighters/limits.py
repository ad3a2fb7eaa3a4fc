"""A fire level that no way to send the brigades gets below is computed here."""

import numpy as np

from marl.envs.alone import Alone, relaxed


def houses_alone(levels: np.ndarray, chance: np.ndarray, agents: int) -> float:
    """Bounds the sum of all houses' average rewards, -level, under every policy from above.

    Every house takes of the visits what it likes, up to two, and whether it is beside fire; but all together take no more
    than there are agents, on average. docs/systems/firefighters.md proves it.

    levels [n]: the highest. chance [n, 12]: of a change, by visitors, burning (no, yes), beside fire (no, yes).
    """
    return relaxed((_house(int(top), row) for top, row in zip(levels, chance, strict=True)), float(agents))


def _house(top: int, chance: np.ndarray) -> Alone:
    """Makes a house whose moves are (visitors, beside fire)."""
    states = np.arange(top + 1)
    law, used = np.zeros((6, top + 1, top + 1)), np.repeat([0.0, 1.0, 2.0], 2)
    for k in range(6):
        visitors, beside = divmod(k, 2)
        changed = (np.minimum(states + 1, top), np.maximum(states - 1, 0), np.zeros_like(states))[visitors]
        p = chance[4 * visitors + 2 * (states > 0) + beside]
        np.add.at(law[k], (states, changed), p)
        np.add.at(law[k], (states, states), 1.0 - p)
    return Alone(law, np.tile(-states.astype(float), (6, 1)), used)
