"""Step sizes by hand, and Assumption 3 decided on pairs of them."""

import math
from collections.abc import Callable

import pytest

from marl.core.errors import ConfigError
from marl.core.scheduler import Scheduler
from marl.schedulers import Constant, Linear, PowerLaw, Restarting, TwoTimescale


class Silent(Scheduler):
    """A user's scheduler that declares nothing."""

    def _value(self, t: int) -> float:
        return 1.0 / (t + 2)


def test_values_by_hand() -> None:
    assert [Constant(0.25)(t) for t in (0, 7)] == [0.25, 0.25]
    assert [PowerLaw(6.0, 1.0)(t) for t in (0, 1, 2)] == [6.0, 3.0, 2.0]
    assert [PowerLaw(2.0, 0.5, offset=4.0)(t) for t in (0, 5, 12)] == pytest.approx([1.0, 2 / 3, 0.5], rel=1e-15)
    assert [PowerLaw(3.0, 0.0)(t) for t in (0, 9)] == [3.0, 3.0]
    expected = [1.0, 1 / math.sqrt(2), 1 / math.sqrt(3)]
    assert [Restarting(1.0, 3)(t) for t in range(7)] == pytest.approx([*expected, *expected, 1.0], rel=1e-15)
    assert [Restarting(5.0, 1)(t) for t in range(3)] == [5.0, 5.0, 5.0]


def test_linear_runs_from_start_to_end() -> None:
    scheduler = Linear(2.0, 1.0, 4)
    assert [scheduler(t) for t in range(7)] == [2.0, 1.75, 1.5, 1.25, 1.0, 1.0, 1.0]
    assert scheduler.non_increasing
    assert not Linear(1.0, 2.0, 4).non_increasing
    assert TwoTimescale.check(PowerLaw(1.0, 0.6), Linear(1.0, 0.0, 10)).not_summable is False
    assert TwoTimescale.check(Linear(1.0, 0.5, 10), Constant(1.0)).square_summable is False


def test_restarting_with_a_law_of_its_own() -> None:
    scheduler = Restarting(3.0, 4, power=0.75, offset=2.0)
    expected = [3.0 * (t % 4 + 2.0) ** -0.75 for t in range(10)]
    assert [scheduler(t) for t in range(10)] == pytest.approx(expected, rel=1e-15)
    assert scheduler.values(3, 5) == pytest.approx(expected[3:8], rel=1e-15)


def test_restarting_rises_again() -> None:
    scheduler = Restarting(1.0, 4)
    assert not scheduler.non_increasing
    assert scheduler(4) > scheduler(3)


@pytest.mark.parametrize("a", [0.3, 0.5, 0.500001, 0.6, 0.8, 1.0, 1.1])
@pytest.mark.parametrize("b", [0.4, 0.5, 0.55, 0.6, 0.8, 1.0, 1.000001])
def test_assumption3_for_power_laws_is_exactly_one_half_below_a_below_b_up_to_one(a: float, b: float) -> None:
    verdict = TwoTimescale.check(PowerLaw(1.0, a), PowerLaw(0.1, b, offset=5.0))
    assert verdict.positive
    assert verdict.non_increasing
    assert verdict.square_summable == (a > 0.5 and b > 0.5)
    assert verdict.not_summable == (a <= 1.0 and b <= 1.0)
    assert verdict.ratio_summable == (a < b)
    assert verdict.holds == (0.5 < a < b <= 1.0)
    assert (str(verdict) == "Assumption 3 holds") == verdict.holds


def test_constants_fail_and_say_where() -> None:
    verdict = TwoTimescale.check(Constant(0.1), Constant(3.0))
    assert verdict == TwoTimescale(True, True, False, True, False)
    assert verdict.holds is False
    assert str(verdict) == "Assumption 3 fails: square summable, ratio summable"


def test_restarting_is_neither_monotone_nor_square_summable() -> None:
    verdict = TwoTimescale.check(PowerLaw(1.0, 0.6), Restarting(1.0, 100))
    assert verdict == TwoTimescale(True, False, False, True, False)
    assert verdict.holds is False


def test_what_a_scheduler_does_not_declare_stays_open() -> None:
    verdict = TwoTimescale.check(PowerLaw(1.0, 0.6), Silent())
    assert verdict == TwoTimescale(True, None, None, None, None)
    assert verdict.holds is None
    words = "non increasing, square summable, not summable, ratio summable"
    assert str(verdict) == f"Assumption 3 undecided: {words}"


def test_one_known_failure_decides_even_beside_the_unknown() -> None:
    for verdict in (TwoTimescale.check(Constant(0.1), Silent()), TwoTimescale.check(Silent(), Constant(0.1))):
        assert verdict == TwoTimescale(True, None, False, None, None)
        assert verdict.holds is False
        assert "fails: square summable; undecided: non increasing" in str(verdict)
    assert TwoTimescale.check(Silent(), PowerLaw(1.0, 1.2)).not_summable is False


@pytest.mark.parametrize("zero", [Constant(0.0), PowerLaw(0.0, 0.8)])
def test_a_zero_step_size_is_not_positive(zero: Scheduler) -> None:
    for pair in ((PowerLaw(1.0, 0.6), zero), (zero, PowerLaw(1.0, 0.8))):
        verdict = TwoTimescale.check(*pair)
        assert verdict.positive is False
        assert verdict.holds is False
        assert "positive" in str(verdict)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Constant(-0.1), "step size value"),
        (lambda: Constant(math.nan), "step size value"),
        (lambda: PowerLaw(math.inf, 0.5), "step size scale"),
        (lambda: PowerLaw(1.0, -0.5), "step size exponent"),
        (lambda: PowerLaw(1.0, 0.5, 0.0), "step size offset"),
        (lambda: Linear(-1.0, 0.0, 5), "the start"),
        (lambda: Linear(1.0, 0.0, 0), "steps must"),
        (lambda: Restarting(-1.0, 5), "step size scale"),
        (lambda: Restarting(1.0, 0), "step size period"),
    ],
)
def test_refusals_name_the_argument(build: Callable[[], Scheduler], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build()
