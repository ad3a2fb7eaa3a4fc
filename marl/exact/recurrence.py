"""A chain with one recurrent class has a unique stationary law and V."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from marl.core.errors import ConfigError

Step = Callable[[Float[np.ndarray, "X 1"]], Float[np.ndarray, "X 1"]]
"""The states that a set of states leads to (or comes from) in one step: positive exactly there."""


class SeveralClassesError(ConfigError):
    """The long-run average depends on the start."""


def recurrent_class(num_states: int, forward: Step, backward: Step) -> tuple[Bool[np.ndarray, "X"], int | None]:
    """Finds (one recurrent class, a state that never reaches it or None). Transient states and periods are fine."""
    state = 0
    while True:  # walk to a state that everything reachable from it can return to
        after, before = _closure(num_states, state, forward), _closure(num_states, state, backward)
        gone = np.flatnonzero(after & ~before)
        if gone.size == 0:
            elsewhere = np.flatnonzero(~before)
            return after, int(elsewhere[0]) if elsewhere.size else None
        state = int(gone[0])


def _closure(num_states: int, start: int, step: Step) -> Bool[np.ndarray, "X"]:
    """Finds the states that `start` leads to in any number of steps, itself included."""
    reached = np.zeros((num_states, 1), dtype=bool)
    reached[start] = True
    while True:
        grown = reached | (step(reached.astype(float)) > 0)
        if np.array_equal(grown, reached):
            return reached[:, 0]
        reached = grown
