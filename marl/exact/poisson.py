"""The Poisson equation (I - P) V = r - J 1 of a chain with one recurrent class, and its stationary law.

Dense: one linear system in (J, V) with V of one state set to zero, solved for all rewards at once. The same matrix
transposed gives the stationary law. Matrix-free: relative value iteration V <- V + r + P V - V, whose increment
d = r + P V - V brackets J between its least and largest entry; damped if the chain turns out to be nearly periodic.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from marl.core.errors import ConfigError
from marl.exact.chain import Chain
from marl.exact.interaction import variation
from marl.exact.recurrence import check_unichain
from marl.kernels.elimination import improve

MOST_ITERATIONS = 20_000
TOLERANCE = 1e-14
"""Wanted size of the last increment, relative to the rewards (or to one, for a distribution)."""
_NOISE = 1e-11
"""Relative size below which an increment that no longer shrinks is rounding."""


@dataclass
class Solution:
    """J [C], V [X, C] up to a constant per column, and how good they are.

    residual [C]: span of r + P V - V, evaluated once more on the result; |error of J| <= residual / 2. iterations: 0 on
    the dense route.
    """

    chain: Chain
    J: Float[Tensor, "C"]
    V: Float[Tensor, "X C"]
    residual: Float[Tensor, "C"]
    iterations: int

    @cached_property
    def error(self) -> Float[Tensor, "C"]:
        """A bound on the span of the error of V, or inf where none can be given (see `gain`)."""
        return self.residual * gain(self.chain)


def solve(chain: Chain, rewards: Float[np.ndarray, "X C"], tolerance: float = TOLERANCE) -> Solution:
    """J and V of every column of rewards.

    Errors: `ConfigError` if the chain has several recurrent classes, or mixes too slowly for the iteration.
    """
    check_unichain(chain)
    if chain.method == "dense":
        average, values, iterations = *_direct(chain, rewards), 0
    else:
        average, values, iterations = _iterate(chain, rewards, tolerance)
    increment = rewards + chain.expect(values) - values
    residual = torch.from_numpy(increment.max(axis=0) - increment.min(axis=0))
    return Solution(chain, torch.from_numpy(average), torch.from_numpy(values), residual, iterations)


def gain(chain: Chain) -> float:
    """A bound on (span of the error of V) / (span of the residual), or inf.

    The error is sum_t P^t (d - J), and the variation of P^t g in s_j is at most [delta(g) C^t]_j with C the interaction
    matrix of the laws; so its span is at most residual * sum_ij [(I - C)^-1]_ij if the spectral radius of C is below 1.
    """
    tables = chain.averaged_laws()
    matrix = np.zeros((chain.n, chain.n))
    for i, table in enumerate(tables):
        for axis, j in enumerate(chain.laws.neighbors[i]):
            matrix[i, j] = variation(table, axis)
    if np.abs(np.linalg.eigvals(matrix)).max() >= 1.0 - 1e-9:
        return float("inf")
    return float(np.linalg.solve(np.eye(chain.n) - matrix, np.ones(chain.n)).sum())


def stationary(chain: Chain, tolerance: float = TOLERANCE) -> Float[Tensor, "X"]:
    """The stationary law over joint states; zero on transient states. Errors: as `solve`."""
    check_unichain(chain)
    if chain.method == "dense":
        unit = torch.zeros(chain.num_states, dtype=torch.float64)
        unit[0] = 1.0
        law = torch.linalg.solve(system(chain.matrix).T, unit).clamp(min=0.0)
        return law / law.sum()
    w = np.full((chain.num_states, 1), 1.0 / chain.num_states)
    pace = _Pace(tolerance)
    while True:
        change = chain.push(w) - w
        done = pace.after(float(np.abs(change).sum()), 1.0)
        w += pace.step * change
        w /= w.sum()
        if done:
            return torch.from_numpy(w[:, 0])


def system(matrix: Float[Tensor, "X X"]) -> Float[Tensor, "X X"]:
    """I - P with its first column replaced by ones: applied to (J, V_1, V_2, ...) it gives r, where V_0 = 0."""
    left = torch.eye(len(matrix), dtype=matrix.dtype) - matrix
    return torch.cat([torch.ones(len(matrix), 1, dtype=matrix.dtype), left[:, 1:]], dim=1)


def _direct(chain: Chain, rewards: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    solved = torch.linalg.solve(system(chain.matrix), torch.from_numpy(rewards)).numpy()
    average = solved[0].copy()
    solved[0] = 0.0
    return average, solved


def _iterate(chain: Chain, rewards: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray, int]:
    values = np.zeros_like(rewards)
    low, high = np.empty(rewards.shape[1]), np.empty(rewards.shape[1])
    scale = float((rewards.max(axis=0) - rewards.min(axis=0)).max())
    pace = _Pace(tolerance)
    while True:
        increment = chain.expect(values)
        improve(increment, rewards, values, low, high)
        average = (low + high) / 2
        done = pace.after(float((high - low).max()), scale)
        values += pace.step * (increment - average)
        if done:
            return average, values, len(pace.sizes)


class _Pace:
    """Decides when an iteration is over and damps it while it does not converge."""

    def __init__(self, tolerance: float):
        self.tolerance = tolerance
        self.step = 1.0
        self.sizes: list[float] = []

    def after(self, size: float, scale: float) -> bool:
        """Whether an increment of this size is the last; errors: `ConfigError` after too many."""
        self.sizes.append(size)
        if size <= self.tolerance * scale:
            return True
        if len(self.sizes) > 10 and size > 0.9 * self.sizes[-11]:
            if size <= _NOISE * scale:
                return True
            self.step = 0.5  # a periodic chain turns for ever under full steps
        if len(self.sizes) >= MOST_ITERATIONS:
            raise ConfigError(
                f"the chain mixes too slowly for the matrix-free solver: after {MOST_ITERATIONS} iterations the increment "
                f"is still {size:.1e} of {scale:.1e}; use method=dense (up to 4096 joint states)"
            )
        return False
