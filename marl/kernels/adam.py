"""Adam (Kingma and Ba 2015) takes its steps as torch takes them, on networks of one hidden layer."""

from typing import Any, NamedTuple

import numpy as np

from marl.kernels.compiled import cached_njit
from marl.kernels.forms import FAST
from marl.kernels.hidden_layer import Weights

TINY = 1e-290
"""Smaller means are taken for 0: those of parameters that are hardly ever met would end where arithmetic is slow."""


class Learner(NamedTuple):
    """These are the networks of `HiddenLayer`, what Adam keeps of their gradients, and its options; steps: taken before."""

    near: np.ndarray
    size: np.ndarray
    embedding: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    embedding_mean: np.ndarray
    weight_mean: np.ndarray
    bias_mean: np.ndarray
    embedding_square: np.ndarray
    weight_square: np.ndarray
    bias_square: np.ndarray
    rate: float
    beta: float
    beta_square: float
    eps: float
    steps: int


@cached_njit(forceinline=True, error_model="numpy", fastmath=FAST)
def network_of(learner: Learner, b: int, i: int) -> Weights:
    """Returns the network of agent i of replica b."""
    return Weights(learner.embedding[b, i], learner.weight[b, i], learner.bias[b, i])


@cached_njit(forceinline=True, error_model="numpy", fastmath=FAST)
def adam_step(learner: Learner, b: int, i: int, gradient: Weights, taken: int) -> None:
    """Moves the network of agent i of replica b along `gradient`, which is set to zero.

    taken: how many steps have been taken since `learner.steps`.
    """
    number = learner.steps + taken + 1
    size = learner.rate / (1.0 - learner.beta**number)
    scale = 1.0 / np.sqrt(1.0 - learner.beta_square**number)
    means, squares = learner.embedding_mean[b, i].reshape(-1), learner.embedding_square[b, i].reshape(-1)
    move(learner, learner.embedding[b, i].reshape(-1), gradient.embedding.reshape(-1), means, squares, size, scale)
    means, squares = learner.weight_mean[b, i].reshape(-1), learner.weight_square[b, i].reshape(-1)
    move(learner, learner.weight[b, i].reshape(-1), gradient.weight.reshape(-1), means, squares, size, scale)
    means, squares = learner.bias_mean[b, i], learner.bias_square[b, i]
    move(learner, learner.bias[b, i], gradient.bias, means, squares, size, scale)


@cached_njit(forceinline=True, error_model="numpy", fastmath=FAST)
def move(
    options: Any, x: np.ndarray, gradient: np.ndarray, mean: np.ndarray, square: np.ndarray, size: float, scale: float
) -> None:
    """Moves x along the gradient, which is set to zero. options: anything with beta, beta_square and eps.

    mean, square: what is kept of gradients; size, scale: step size and factor of roots, with corrections for the start.
    """
    beta, beta_square, eps = options.beta, options.beta_square, options.eps
    for k in range(len(x)):
        g = gradient[k]
        moved = mean[k] + (1.0 - beta) * (g - mean[k])
        mean[k] = moved if abs(moved) > TINY else 0.0
        square[k] = beta_square * square[k] + (1.0 - beta_square) * g * g
        x[k] -= size * mean[k] / (np.sqrt(square[k]) * scale + eps)
        gradient[k] = 0.0
