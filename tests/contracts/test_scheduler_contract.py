"""The kit of schedulers sees what is broken."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from marl.core.errors import ContractError
from marl.core.scheduler import Scheduler
from marl.testing import check_scheduler


class Law(Scheduler):
    """Any function of time."""

    def __init__(self, law: Callable[[int], float], exponent: float | None = None, non_increasing: bool | None = None):
        self.law, self.exponent, self.non_increasing = law, exponent, non_increasing

    def _value(self, t: int) -> float:
        return self.law(t)


class Counts(Scheduler):
    asked = 0

    def _value(self, t: int) -> float:
        self.asked += 1
        return 1.0 / self.asked


class Tables(Law):
    """Whatever is said of many times at once."""

    def __init__(self, table: Callable[[np.ndarray], np.ndarray]):
        super().__init__(lambda t: 1.0 / (t + 1))
        self.table = table

    def values(self, first: int, steps: int) -> np.ndarray:
        return self.table(np.arange(first, first + steps))


@pytest.mark.parametrize(
    "right",
    [
        Law(lambda t: 1.0 / (t + 2)),
        Law(lambda t: 3.0 * (t + 5.0) ** -0.6, 0.6, True),
        Law(lambda t: 0.5**t, math.inf, True),
        Law(lambda t: 1.0 + math.sin(t), 0.0),
        Tables(lambda t: 1.0 / (t + 1)),
    ],
)
def test_a_right_one_passes(right: Scheduler) -> None:
    check_scheduler(right)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (Law(lambda t: 0.5 - t), r"Law gives the step size -0.5 at t = 1; it must be at least 0"),
        (Law(lambda t: math.nan if t == 7 else 1.0), "Law gives the step size nan at t = 7"),
        (Counts(), "Counts gave 1.0 at t = 0, and gives .* when asked again|of Counts gives .* for t = 0, not"),
        (Tables(lambda t: 1.0 / (t + 2)), r"values\(0, 40\) of Tables gives 0.5 for t = 0, not 1.0"),
        (Tables(lambda t: (1.0 / (t + 1)).astype(np.float32)), r"values\(0, 40\) of Tables must be an array of 40 float64"),
        (Tables(lambda t: 1.0 / (t[:1] + 1)), r"values\(0, 40\) of Tables must be an array of 40 float64"),
        (Law(lambda t: t % 5 + 1.0, non_increasing=True), "Law rises between t = 0 and t = 1, but it says non_increasing"),
        (Law(lambda t: (t + 1.0) ** -0.4, exponent=0.6), "Law falls like t\\^-0.4 .*, but its exponent is 0.6"),
        (Law(lambda t: 0.5**t, exponent=1.0), "Law falls like t\\^-inf .*, but its exponent is 1.0"),
        (Law(lambda t: 1.0, exponent=math.inf), "Law falls like t\\^-0 .*, but its exponent is inf"),
    ],
)
def test_the_kit_sees_a_broken_one(broken: Scheduler, words: str) -> None:
    with pytest.raises(ContractError, match=words):
        check_scheduler(broken)
