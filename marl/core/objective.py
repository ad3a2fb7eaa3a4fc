"""What is maximized in the long run is the average reward, or the discounted sum of rewards."""

from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from marl.core.checks import number
from marl.core.shapes import Rewards
from marl.core.snapshot import SnapshotModule


class Objective(SnapshotModule, ABC):
    """An objective is what differs in a temporal-difference error: delta_i = centered(r_i) + gamma Q_i(z(t+1)) - Q_i(z(t)).

    gamma: what a value one step later counts now.
    """

    gamma: float

    @abstractmethod
    def centered(self, r: Rewards) -> Rewards:
        """Returns what a return sums up, of the rewards r [*K, B, n]."""

    @abstractmethod
    def track(self, r: Rewards, alpha: float) -> None:
        """Learns from the rewards r [B, n] of a step, with step size alpha, what `centered` needs to know."""

    @abstractmethod
    def metrics(self) -> dict[str, np.ndarray]:
        """Returns the numbers to log, one per replica [B]."""

    @abstractmethod
    def fused(self) -> Any:
        """Returns the form that compiled loops know it by, see `marl.kernels.objectives`."""


@final
class Average(Objective):
    """This is the long-run average reward: r_i - mu_i is summed up, mu_i estimates agent i's average reward, and gamma = 1.

    Shapes: buffer mu [B, n]; it starts at zero.
    """

    gamma = 1.0
    mu: Tensor

    def __init__(self, replicas: int, agents: int, dtype: torch.dtype):
        super().__init__()
        self.register_buffer("mu", torch.zeros(replicas, agents, dtype=dtype))

    def centered(self, r: Rewards) -> Rewards:
        return r - self.mu

    def track(self, r: Rewards, alpha: float) -> None:
        """Takes the step of line 5, mu_i <- (1 - alpha) mu_i + alpha r_i."""
        self.mu.lerp_(r, alpha)

    def metrics(self) -> dict[str, np.ndarray]:
        return {"mu": self.mu.mean(dim=1).double().cpu().numpy()}

    def fused(self) -> Any:
        from marl.kernels.objectives import AverageReward  # numba takes its time: only where it is used

        return AverageReward(self.mu.numpy())


@final
class Discounted(Objective):
    """This is the discounted sum sum_t gamma^t r_i(t): rewards are summed up as they are, and nothing is estimated.

    gamma: at least 0 and below 1. Errors: `ConfigError` if it is not.
    """

    def __init__(self, gamma: float):
        super().__init__()
        self.gamma = number("the discount", gamma, 0.0, np.nextafter(1.0, 0.0))

    def centered(self, r: Rewards) -> Rewards:
        return r

    def track(self, r: Rewards, alpha: float) -> None:
        """Learns nothing: there is nothing to estimate."""

    def metrics(self) -> dict[str, np.ndarray]:
        return {}

    def fused(self) -> Any:
        from marl.kernels.objectives import DiscountedSum  # numba takes its time: only where it is used

        return DiscountedSum(self.gamma)
