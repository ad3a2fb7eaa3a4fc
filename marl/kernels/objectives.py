"""The forms of what is maximized: `AverageReward`, or None for a discounted sum, where nothing is estimated."""

from typing import NamedTuple

import numpy as np

from marl.kernels import forms
from marl.kernels.forms import implements


class AverageReward(NamedTuple):
    """The estimate of the average reward, changed in place. Shapes: mu [B, n]."""

    mu: np.ndarray


class AverageRewardOne(NamedTuple):
    """`AverageReward` of one replica. Shapes: mu [n]."""

    mu: np.ndarray


@implements(forms.of_replica, AverageReward)
def _of_replica(form: AverageReward, b: int) -> AverageRewardOne:
    return AverageRewardOne(form.mu[b])


@implements(forms.error_of, AverageRewardOne)
def _average_error(goal: AverageRewardOne, i: int, r: float, following: float, present: float) -> float:
    return r - goal.mu[i] + following - present


@implements(forms.error_of, None)
def _discounted_error(goal: None, i: int, r: float, following: float, present: float) -> float:
    return r + following - present


@implements(forms.track, AverageRewardOne)
def _track(goal: AverageRewardOne, i: int, r: float, alpha: float) -> None:
    goal.mu[i] += alpha * (r - goal.mu[i])


@implements(forms.track, None)
def _nothing_to_track(goal: None, i: int, r: float, alpha: float) -> None:
    pass
