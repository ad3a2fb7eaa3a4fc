"""Optimizers take their steps on one array of parameters, as torch takes them."""

from typing import NamedTuple

import numpy as np

from marl.kernels import forms
from marl.kernels.adam import move
from marl.kernels.forms import implements


class Plain(NamedTuple):
    """This is gradient descent without options, of so many replicas."""

    replicas: int


class Moments(NamedTuple):
    """This is Adam without options. Shapes: mean, square [B, P], what it keeps of the gradients; steps: taken before."""

    mean: np.ndarray
    square: np.ndarray
    beta: float
    beta_square: float
    eps: float
    steps: int


class MomentsOne(NamedTuple):
    """This is `Moments` of one replica. Shapes: mean, square [P]."""

    mean: np.ndarray
    square: np.ndarray
    beta: float
    beta_square: float
    eps: float
    steps: int


@implements(forms.of_replica, Plain)
def _plain_of_replica(form: Plain, b: int) -> Plain:
    return form


@implements(forms.of_replica, Moments)
def _moments_of_replica(form: Moments, b: int) -> MomentsOne:
    return MomentsOne(form.mean[b], form.square[b], form.beta, form.beta_square, form.eps, form.steps)


@implements(forms.descend, Plain)
def _descend_plainly(form: Plain, x: np.ndarray, gradient: np.ndarray, step_size: float, taken: int) -> None:
    for k in range(len(x)):
        x[k] -= step_size * gradient[k]
        gradient[k] = 0.0


@implements(forms.descend, MomentsOne)
def _descend_by_moments(form: MomentsOne, x: np.ndarray, gradient: np.ndarray, step_size: float, taken: int) -> None:
    number = form.steps + taken + 1
    size, scale = step_size / (1.0 - form.beta**number), 1.0 / np.sqrt(1.0 - form.beta_square**number)
    move(form, x, gradient, form.mean, form.square, size, scale)
