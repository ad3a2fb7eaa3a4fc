"""The loops of the actor-critics are called with these arrays by name, beside the forms of policy and critic."""

from typing import Any, NamedTuple

import numpy as np


class FusedStep(NamedTuple):
    """This is an environment's step: a function compiled as `marl.kernels.steps.STEP` and the numbers it works on.

    ints [any] int64 and floats [any] float64 are read only; work: how many integers it needs to write on.
    """

    step: Any
    ints: np.ndarray
    floats: np.ndarray
    work: int = 0


UNROLLED = 16
"""Up to this length a loop is compiled for the very number of actions, or of hidden units."""


def of_length(count: int) -> Any:
    """Makes something whose length is `count`: a tuple, which a loop is compiled for, or an array if that is much."""
    return (0,) * count if count <= UNROLLED else np.empty(count)


class Layout(NamedTuple):
    """A layout is what stays as it is. Shapes: states [n], pair [n S A], last, choice [n S], near [n, m], size [n].

    states: how many an agent has, at most S; pair: its number, -1 if illegal; last: the last legal action; choice: 1 where
    there are several, else 0; near, size: the neighborhoods of the critic.
    """

    states: np.ndarray
    pair: np.ndarray
    last: np.ndarray
    choice: np.ndarray
    near: np.ndarray
    size: np.ndarray


class Span(NamedTuple):
    """A span says which steps to take: t .. t + len(alpha) - 1, with step sizes alpha, eta [steps].

    summed: steps in the sums of `Progress` already.
    """

    t: int
    summed: int
    alpha: np.ndarray
    eta: np.ndarray


class Progress(NamedTuple):
    """Says where the run is, with its sums since the last log point.

    Shapes: s, a, reward [B, n], key, loss, finite, done [B].
    key: the noise of every replica; done: the steps that a call took, `NO_STATE` if the environment gave a state that does
    not exist, `NO_ROOM` if the critic had no room for an entry.
    """

    key: np.ndarray
    s: np.ndarray
    a: np.ndarray
    reward: np.ndarray
    loss: np.ndarray
    finite: np.ndarray
    done: np.ndarray


class Room(NamedTuple):
    """These are arrays for every worker to work in, made once: they hold nothing between calls.

    Shapes: s, next_s, a, next_a, z, slot, learns, q, r [W, n], drawn [W, n, U + 1], scratch [W, work].
    z: pair numbers; slot, learns: where Q_i stands, and whether it is learned; q: its value, of the critic's precision.
    """

    s: np.ndarray
    next_s: np.ndarray
    a: np.ndarray
    next_a: np.ndarray
    z: np.ndarray
    slot: np.ndarray
    learns: np.ndarray
    q: np.ndarray
    r: np.ndarray
    drawn: np.ndarray
    scratch: np.ndarray


NO_STATE, NO_ROOM = -1, -2
