"""The best joint action is found for one agent at a time: arrays over joint pairs become arrays over joint states.

Arrays are flat, last digit fastest; agent `k`'s digit has `outer` values before it and `right` behind it. first [S + 1]:
where the pairs of each of its states begin.
"""

import math

import numpy as np

from marl.kernels.compiled import cached_njit


@cached_njit()
def choose(q: np.ndarray, out: np.ndarray, choice: np.ndarray, first: np.ndarray, outer: int, right: int) -> None:
    """out[o, s, r] = max over the pairs z of s of q[o, z, r]; choice: which of them, counted from 0, the first at ties.

    Sizes: q outer * pairs * right; out and choice outer * states * right.
    """
    states, pairs = len(first) - 1, first[-1]
    for o in range(outer):
        for s in range(states):
            target = (o * states + s) * right
            source = (o * pairs + first[s]) * right
            for r in range(right):
                out[target + r] = q[source + r]
                choice[target + r] = 0
            for k in range(1, first[s + 1] - first[s]):
                for r in range(right):
                    value = q[source + k * right + r]
                    if value > out[target + r]:
                        out[target + r] = value
                        choice[target + r] = k


@cached_njit()
def soften(q: np.ndarray, out: np.ndarray, first: np.ndarray, outer: int, right: int, scale: float) -> None:
    """out[o, s, r] = scale * log sum over the pairs z of s of exp(q[o, z, r] / scale), shifted so that it cannot overflow.

    Sizes: as in `choose`.
    """
    states, pairs = len(first) - 1, first[-1]
    for o in range(outer):
        for s in range(states):
            target = (o * states + s) * right
            source = (o * pairs + first[s]) * right
            count = first[s + 1] - first[s]
            for r in range(right):
                most = q[source + r]
                for k in range(1, count):
                    most = max(most, q[source + k * right + r])
                total = 0.0
                for k in range(count):
                    total += math.exp((q[source + k * right + r] - most) / scale)
                out[target + r] = most + scale * math.log(total)
