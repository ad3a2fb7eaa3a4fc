"""These are step sizes, and Assumption 3 of the paper is checked on a pair of them."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from marl.core.checks import integer, number
from marl.core.errors import ConfigError
from marl.core.scheduler import Scheduler


class Constant(Scheduler):
    """The step size is `value` at every t."""

    exponent = 0.0
    non_increasing = True

    def __init__(self, value: float):
        self.value = number("the step size value", value, 0.0)

    def _values(self, first: int, steps: int) -> np.ndarray:
        return np.full(steps, self.value, dtype=np.float64)

    def _value(self, t: int) -> float:
        return self.value


class PowerLaw(Scheduler):
    """The step size is scale * (t + offset)^-exponent."""

    non_increasing = True

    def __init__(self, scale: float, exponent: float, offset: float = 1.0):
        self.scale = number("the step size scale", scale, 0.0)
        self.exponent: float = number("the step size exponent", exponent, 0.0)
        self.offset = number("the step size offset", offset, 1e-9)
        if self.exponent * -math.log(self.offset) > 700.0:
            raise ConfigError(f"the step size starts at offset^-exponent = {self.offset:g}^-{self.exponent:g}, too large")

    def _values(self, first: int, steps: int) -> np.ndarray:
        return self._at(np.arange(first, first + steps))

    def _at(self, t: Any) -> Any:
        """Returns the law at a time, or at an array of times."""
        return self.scale * (t + self.offset) ** -self.exponent

    def _value(self, t: int) -> float:
        return float(self._at(t))


class Restarting(Scheduler):
    """The step size is scale * (t mod period + offset)^-power; by default scale / sqrt(t mod period + 1).

    It starts again after each period.
    """

    exponent = 0.0
    non_increasing = False

    def __init__(self, scale: float, period: int, power: float = 0.5, offset: float = 1.0):
        self.period = integer("the step size period", period, 1)
        self._law = PowerLaw(scale, power, offset)
        self.scale = self._law.scale

    def _values(self, first: int, steps: int) -> np.ndarray:
        return self._law._at(np.arange(first, first + steps) % self.period)

    def _value(self, t: int) -> float:
        return self._law(t % self.period)


class Linear(Scheduler):
    """The step size goes from start at t = 0 in equal parts to end at t = steps, and is end from there on."""

    def __init__(self, start: float, end: float, steps: int):
        self.start, self.end = number("the start", start, 0.0), number("the end", end, 0.0)
        self.steps = integer("steps", steps, 1)
        self.exponent = 0.0 if self.end else math.inf  # 0 in the end is less than any power of t
        self.non_increasing = self.end <= self.start

    def _values(self, first: int, steps: int) -> np.ndarray:
        passed = np.minimum(np.arange(first, first + steps), self.steps) / self.steps
        return self.start + (self.end - self.start) * passed

    def _value(self, t: int) -> float:
        return self.start + (self.end - self.start) * (min(t, self.steps) / self.steps)


@dataclass(frozen=True)
class TwoTimescale:
    """Each part of Assumption 3 for (alpha, eta) is True, False, or None where a scheduler does not say enough.

    positive: both step sizes are positive. non_increasing: neither ever rises.
    square_summable: sum alpha^2 and sum eta^2 are finite. not_summable: sum alpha and sum eta are infinite.
    ratio_summable: sum (eta/alpha)^d is finite for some d > 0.
    For power laws with exponents a (critic) and b (actor) the whole is 1/2 < a < b <= 1.
    """

    positive: bool
    non_increasing: bool | None
    square_summable: bool | None
    not_summable: bool | None
    ratio_summable: bool | None

    @classmethod
    def check(cls, alpha: Scheduler, eta: Scheduler) -> "TwoTimescale":
        """Decides each part from the exponents that the two schedulers declare."""
        a, b = alpha.exponent, eta.exponent
        positive = alpha(0) > 0.0 and eta(0) > 0.0
        return cls(
            positive=positive,
            non_increasing=_both(alpha.non_increasing, eta.non_increasing),
            square_summable=_both(_decided(a, lambda x: x > 0.5), _decided(b, lambda x: x > 0.5)),
            not_summable=positive and _both(_decided(a, lambda x: x <= 1.0), _decided(b, lambda x: x <= 1.0)),
            ratio_summable=None if a is None or b is None else b > a,
        )

    @property
    def holds(self) -> bool | None:
        """Says whether Assumption 3 holds: True, False, or None if undecided."""
        parts = list(vars(self).values())
        return False if False in parts else None if None in parts else True

    def __str__(self) -> str:
        if self.holds:
            return "Assumption 3 holds"
        fails = [name.replace("_", " ") for name, part in vars(self).items() if part is False]
        open_ = [name.replace("_", " ") for name, part in vars(self).items() if part is None]
        verdicts = [f"{verb}: {', '.join(names)}" for verb, names in (("fails", fails), ("undecided", open_)) if names]
        return f"Assumption 3 {'; '.join(verdicts)}"


def _decided(exponent: float | None, test: Callable[[float], bool]) -> bool | None:
    return None if exponent is None else test(exponent)


def _both(left: bool | None, right: bool | None) -> bool | None:
    return False if False in (left, right) else None if None in (left, right) else True
