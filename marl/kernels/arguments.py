"""What the compiled loops of the actor-critics are called with: plain arrays by name."""

from typing import NamedTuple

import numpy as np


class Layout(NamedTuple):
    """What stays as it is. Shapes: near, stride [n, m], size, base, dummy, states [n], pair [n S A], last, choice [n S],

    legal [n, S, A]. dummy: its key, or -1; states: how many an agent has, at most S; last: the last legal action; choice:
    1 where there are several, else 0; keep: the bits of a key that count (all if keys are exact).
    """

    near: np.ndarray
    stride: np.ndarray
    size: np.ndarray
    base: np.ndarray
    dummy: np.ndarray
    states: np.ndarray
    pair: np.ndarray
    last: np.ndarray
    choice: np.ndarray
    legal: np.ndarray
    keep: int


class Learned(NamedTuple):
    """What is learned. Shapes: policy [B, n S 2 A] (see `marl.kernels.softmax`), values [B, V],

    table [B, 2 W], the same memory as cells (see `marl.kernels.hash_table`), or [B, 0] where a key is the place of its
    value, width [B], cells of a row that are in use, used [B], mu [B, n], maxima [B, blocks], or [B, 0] where Gamma = 1.
    """

    policy: np.ndarray
    values: np.ndarray
    table: np.ndarray
    width: np.ndarray
    used: np.ndarray
    mu: np.ndarray
    maxima: np.ndarray


class Span(NamedTuple):
    """Which steps to take: t .. t + len(alpha) - 1, with step sizes alpha, eta [steps].

    summed: steps in the sums of `Progress` already. discount: 1 for the average-reward error r - mu + Q' - Q, below 1 for
    r + discount Q' - Q.
    """

    t: int
    summed: int
    alpha: np.ndarray
    eta: np.ndarray
    discount: float


class Progress(NamedTuple):
    """Where the run is, and its sums since the last log point. Shapes: s, a, reward [B, n], key, loss, finite,

    done [B]: the steps that a call took, or -1 if the environment gave a state that does not exist.
    """

    key: np.ndarray
    s: np.ndarray
    a: np.ndarray
    reward: np.ndarray
    loss: np.ndarray
    finite: np.ndarray
    done: np.ndarray
