"""Step sizes are pure functions of time."""

from abc import ABC, abstractmethod

import numpy as np


class Scheduler(ABC):
    """This is the base class of step sizes: implement `_value`, and `_values` if many can be had at once.

    Reading a scheduler never changes it.

    exponent: x if the values fall like t^-x (0 if they do not fall), None if unknown.
    non_increasing: whether values never rise, None if unknown.
    Both serve the check of Assumption 3 only.
    """

    exponent: float | None = None
    non_increasing: bool | None = None

    def __call__(self, t: int) -> float:
        """Returns the step size of environment step t = 0, 1, ..."""
        return self._value(t)

    def values(self, first: int, steps: int) -> np.ndarray:
        """Returns the step sizes of t = first .. first + steps - 1. Shapes: float64 [steps].

        `_values(first, steps)` is asked where exactly the class of this scheduler defines it: one that derives from it may
        have another law.
        """
        if "_values" in vars(type(self)) and "_value" not in vars(self):
            return vars(type(self))["_values"](self, first, steps)
        return np.array([self(t) for t in range(first, first + steps)], dtype=np.float64)

    @abstractmethod
    def _value(self, t: int) -> float:
        """Returns the step size of step t."""
