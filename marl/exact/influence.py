"""Sums of powers of a non-negative matrix that stand for influence over time, as rigorous upper bounds."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from marl.core.network import Network
from marl.exact.interaction import NeighborMatrix

_MOST_SWEEPS = 2_000
_MARGIN = 1e-9
_NEGLIGIBLE = 1e-18
_COLUMNS = 64


class Influence:
    """sum_t x' C^t for a non-negative C.

    If C w <= lambda w for some w > 0, the spectral radius is at most lambda (Collatz and Wielandt), and if lambda < 1
    what is left after some sweeps is at most lambda / (1 - lambda) (last sweep . w), for w >= 1. w comes from the power
    method for I + C, which cannot cycle. Attributes: `radius` (the least lambda found), `finite` (lambda < 1).
    """

    def __init__(self, matrix: NeighborMatrix):
        self._left = matrix.transposed()
        w = np.ones((len(matrix.entries), 1))
        self.radius = float("inf")
        for _ in range(_MOST_SWEEPS):
            image = matrix @ w
            upper, lower = float((image / w).max()), float((image / w).min())
            if upper < self.radius:
                self.radius, self._w = upper, w / w.min()
            if upper - lower <= 1e-9 * upper:
                break
            w = w + image
            w /= w.max()
            if w.min() < 1e-200:
                break
        self.finite = self.radius < 1.0 - _MARGIN

    def __call__(self, x: Float[np.ndarray, "n k"]) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "k"]]:
        """(sum over sweeps of x' C^t as columns, bound on the total of all that is left out)."""
        total, now = x.copy(), x
        for _ in range(_MOST_SWEEPS):
            now = self._left @ now
            total += now
            if now.max(initial=0.0) <= _NEGLIGIBLE:
                break
        return total, (now * self._w).sum(axis=0) * self.radius / (1.0 - self.radius)


def tails(
    network: Network,
    influence: Influence,
    start: Callable[[np.ndarray], np.ndarray],
    agents: Sequence[int],
    kappas: int,
) -> Float[Tensor, "K C"]:
    """Row kappa: sum over l outside N_i^kappa of [sum_t x_i' C^t]_l, one column per agent i.

    start: unit vectors [n, k] of agents -> their x_i as columns.
    """
    bounds = np.zeros((kappas, len(agents)))
    for first in range(0, len(agents), _COLUMNS):
        chosen = list(agents[first : first + _COLUMNS])
        unit = np.zeros((network.n, len(chosen)))
        unit[chosen, range(len(chosen))] = 1.0
        total, rest = influence(start(unit))
        for c, i in enumerate(chosen):
            distance = network.distances(i).numpy()
            reached = distance >= 0
            shells = np.bincount(distance[reached], weights=total[reached, c])
            outside = np.cumsum(shells[::-1])[::-1][1:][:kappas]  # from the far end: no cancellation
            bounds[: len(outside), first + c] = outside + rest[c]
    return torch.from_numpy(bounds)
