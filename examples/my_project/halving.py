"""A scheduler of one's own: step sizes that are halved again and again."""

from marl import Scheduler


class Halving(Scheduler):
    """value, halved every `period` steps."""

    non_increasing = True

    def __init__(self, value: float, period: int):
        self.value, self.period = value, period

    def _value(self, t: int) -> float:
        return self.value * 0.5 ** (t // self.period)
