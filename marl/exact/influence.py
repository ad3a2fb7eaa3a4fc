"""Sums of powers of a non-negative matrix stand for influence over time, as rigorous upper bounds."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from marl.core.network import Network
from marl.exact.interaction import NeighborMatrix

_MOST_SWEEPS = 20_000
_MARGIN = 1e-9
_NEGLIGIBLE = 1e-17
_COLUMNS = 64
_FEW = 1024


class Influence:
    """This computes sum_t x' C^t for a non-negative C.

    For any w > 0 the spectral radius is at most lambda = max_i (C w)_i / w_i (Collatz and Wielandt); the power method for
    I + C, which cannot cycle, looks for the least. If that is below 1, w = sum_t (C / lambda)^t 1 for a larger lambda < 1
    has C w <= lambda w and w >= 1, so that what is left after some sweeps is at most lambda / (1 - lambda) times the last
    one weighted by w. Attributes: `radius` (the least bound found), `finite` (whether it is below 1).
    """

    def __init__(self, matrix: NeighborMatrix):
        self._left = matrix.transposed()
        self.radius = _radius(matrix)
        weights = _weights(matrix, (1.0 + self.radius) / 2.0) if self.radius < 1.0 - _MARGIN else None
        self.finite = weights is not None
        if weights is not None:
            self._w, self._rate = weights

    def __call__(self, x: Float[np.ndarray, "n k"]) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "k"]]:
        """Returns (sum over sweeps of x' C^t as columns, bound on the total of all that is left out)."""
        total, now = x.copy(), x
        sweeps = 0
        while True:
            now = self._left @ now
            total += now
            rest = (now * self._w).sum(axis=0) * self._rate / (1.0 - self._rate)
            sweeps += 1
            if (rest <= _NEGLIGIBLE * total.sum(axis=0)).all() or sweeps == _MOST_SWEEPS:
                return total, rest


def _radius(matrix: NeighborMatrix) -> float:
    """Finds an upper bound on the spectral radius."""
    w = np.ones((len(matrix.entries), 1))
    radius = np.inf
    for _ in range(_MOST_SWEEPS // 10):
        ratio = (matrix @ w) / w
        radius = min(radius, float(ratio.max()))
        if ratio.max() - ratio.min() <= 1e-9 * ratio.max():
            break
        w = w * (1.0 + ratio)
        w /= w.max()
        if w.min() < 1e-200:
            break
    return radius


def _weights(matrix: NeighborMatrix, rate: float) -> tuple[np.ndarray, float] | None:
    """Finds (w, lambda) with C w <= lambda w, lambda < 1 and w >= 1; None if the sweeps do not find one."""
    n = len(matrix.entries)
    if n <= _FEW:
        w = np.linalg.solve(np.eye(n) - matrix.dense().numpy() / rate, np.ones((n, 1)))
    else:
        w = term = np.ones((n, 1))
        for _ in range(_MOST_SWEEPS):
            term = (matrix @ term) / rate
            w = w + term
            if term.max() <= 1e-3:
                break
    w = w / w.min()
    found = float(((matrix @ w) / w).max())
    return (w, found) if (w > 0.0).all() and found < 1.0 - _MARGIN else None


def tails(
    network: Network,
    influence: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    start: Callable[[np.ndarray], np.ndarray],
    agents: Sequence[int],
    kappas: int,
) -> Float[Tensor, "K C"]:
    """Row kappa is the sum over l outside N_i^kappa of [sum_t x_i' C^t]_l, one column per agent i.

    start: unit vectors [n, k] of agents -> their x_i as columns. influence: an `Influence`, or what returns sums and a
    bound on what they leave out as it does.
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
