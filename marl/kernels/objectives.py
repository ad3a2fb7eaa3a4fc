"""These are the forms of what is maximized: the average reward, or a discounted sum."""

from typing import NamedTuple

import numpy as np

from marl.kernels import forms
from marl.kernels.forms import implements


class AverageReward(NamedTuple):
    """These are the estimates of the average rewards, changed in place. Shapes: mu [B, n]."""

    mu: np.ndarray


class AverageRewardOne(NamedTuple):
    """This is `AverageReward` of one replica. Shapes: mu [n]."""

    mu: np.ndarray


class AverageRewardByErrors(NamedTuple):
    """These are the estimates of the average rewards, which follow TD errors at `rate`. Shapes: mu [B, n]."""

    mu: np.ndarray
    rate: float


class AverageRewardByErrorsOne(NamedTuple):
    """This is `AverageRewardByErrors` of one replica. Shapes: mu [n]."""

    mu: np.ndarray
    rate: float


class DiscountedSum(NamedTuple):
    """Takes rewards as they are, and values of the next step times gamma."""

    gamma: float


@implements(forms.of_replica, AverageReward)
def _average_of_replica(form: AverageReward, b: int) -> AverageRewardOne:
    return AverageRewardOne(form.mu[b])


@implements(forms.of_replica, AverageRewardByErrors)
def _by_errors_of_replica(form: AverageRewardByErrors, b: int) -> AverageRewardByErrorsOne:
    return AverageRewardByErrorsOne(form.mu[b], form.rate)


@implements(forms.of_replica, DiscountedSum)
def _discounted_of_replica(form: DiscountedSum, b: int) -> DiscountedSum:
    return form


@implements(forms.error_of, AverageRewardOne)
def _average_error(goal: AverageRewardOne, i: int, r: float, alpha: float, following: float, present: float) -> float:
    mean = goal.mu[i]
    goal.mu[i] = mean + alpha * (r - mean)
    return r - mean + following - present


@implements(forms.error_of, AverageRewardByErrorsOne)
def _by_errors_error(
    goal: AverageRewardByErrorsOne, i: int, r: float, alpha: float, following: float, present: float
) -> float:
    delta = r - goal.mu[i] + following - present
    goal.mu[i] += goal.rate * alpha * delta
    return delta


@implements(forms.error_of, DiscountedSum)
def _discounted_error(goal: DiscountedSum, i: int, r: float, alpha: float, following: float, present: float) -> float:
    return r + goal.gamma * following - present
