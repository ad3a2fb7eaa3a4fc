"""Step sizes as pure functions of time."""

from abc import ABC, abstractmethod


class Scheduler(ABC):
    """Implement `_value`. Reading a scheduler never changes it.

    exponent: x if the values fall like t^-x (0 if they do not fall), None if unknown.
    non_increasing: whether values never rise, None if unknown.
    Both serve the check of Assumption 3 only.
    """

    exponent: float | None = None
    non_increasing: bool | None = None

    def __call__(self, t: int) -> float:
        """The step size of environment step t = 0, 1, ..."""
        return self._value(t)

    @abstractmethod
    def _value(self, t: int) -> float: ...
