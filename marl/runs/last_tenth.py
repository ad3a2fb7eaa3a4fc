"""A run is summed up by the last tenth of its training."""

from typing import Any

import numpy as np
import torch

from marl.core.snapshot import snapshot
from marl.trainers.trainer import Trainer


def last_tenth_begins(steps: int) -> int:
    """Returns the step after which the last tenth of `steps` begins: a whole number of steps, at least one, is left."""
    return steps - max(1, steps // 10)


def last_tenth_mean(step: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Averages a logged metric over the log points in the last tenth of what was logged.

    Shapes, L log points: step [L], values [L, ...] -> [...].
    """
    return np.asarray(values[step > last_tenth_begins(int(step[-1]))].mean(axis=0))


class LastTenth:
    """This measures the average reward from step `start` on, where the last tenth begins, per replica, to the step.

    A run that is continued to more steps measures from where its new last tenth begins, or from where it goes on if
    that is later.
    """

    def __init__(self, steps: int):
        self.start = last_tenth_begins(steps)
        self._begun = -1
        self._before = torch.empty(0)

    def reach(self, trainer: Trainer) -> None:
        """Remembers the reward so far when the last tenth begins; to be called at every stop."""
        if self._begun < 0 and trainer.t >= self.start:
            self._begun, self._before = trainer.t, trainer.total_reward

    def average(self, trainer: Trainer) -> list[float]:
        """Averages over agents and the steps since, per replica; empty before the first of them."""
        if self._begun < 0 or trainer.t <= self._begun:
            return []
        return ((trainer.total_reward - self._before) / (trainer.t - self._begun)).tolist()

    def state_dict(self) -> dict[str, Any]:
        """Returns start, and where and with how much reward it was reached, if it was."""
        return snapshot({"start": self.start, "begun": self._begun, "before": self._before})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on measuring, if the run still has the same length."""
        if state["start"] == self.start:
            self._begun, self._before = state["begun"], state["before"].clone()
