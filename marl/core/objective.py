"""What is maximized in the long run is the average reward, or the discounted sum of rewards."""

from abc import ABC, abstractmethod
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from marl.core.checks import number
from marl.core.errors import ConfigError
from marl.core.shapes import Rewards, Values
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


class Differential(Objective):
    """This is the long-run average reward: r_i - mu_i is summed up, mu_i estimates agent i's average reward, and gamma = 1.

    A base class: what mu follows is said by `Average` and `AverageByErrors`.
    Shapes: buffer mu [B, n]; it starts at zero.
    """

    gamma = 1.0
    mu: Tensor

    def __init__(self, replicas: int, agents: int, dtype: torch.dtype):
        super().__init__()
        self.register_buffer("mu", torch.zeros(replicas, agents, dtype=dtype))

    def centered(self, r: Rewards) -> Rewards:
        return r - self.mu

    def metrics(self) -> dict[str, np.ndarray]:
        return {"mu": self.mu.mean(dim=1).double().cpu().numpy()}


@final
class Average(Differential):
    """mu_i follows the rewards, as in the paper."""

    def track(self, r: Rewards, alpha: float) -> None:
        """Takes the step of line 5, mu_i <- (1 - alpha) mu_i + alpha r_i."""
        self.mu.lerp_(r, alpha)

    def fused(self) -> Any:
        from marl.kernels.objectives import AverageReward  # numba takes its time: only where it is used

        return AverageReward(self.mu.numpy())


@final
class AverageByErrors(Differential):
    """mu_i follows the TD errors: reward centering by values (Wan, Naik and Sutton 2021; Naik, Wan, Tomar and Sutton 2024).

    mu_i <- mu_i + rate alpha delta_i, delta_i with mu and the values before the step. It is line 5 with step size
    rate alpha on r_i + Q_i(z(t+1)) - Q_i(z(t)), which has the mean J_i too, and varies the less the nearer Q_i is.
    Of a table without a dummy pair that starts at zero, mu_i = rate sum_z Q_i(z) at any time, so where it settles
    sum_z Q_i(z) = J_i / rate: line 5 leaves the level of Q_i open.

    rate: above 0, at most 1. Errors: `ConfigError` if it is not.
    """

    def __init__(self, replicas: int, agents: int, dtype: torch.dtype, rate: float):
        super().__init__(replicas, agents, dtype)
        self.rate = number("the rate of centering", rate, 1e-12, 1.0)

    def track(self, r: Rewards, alpha: float) -> None:
        """Is not what mu follows. Errors: `ConfigError`."""
        raise ConfigError(
            "mu follows TD errors here (trainer.centering), and this trainer tells the critic rewards alone; set "
            "trainer.centering=null, or let the trainer call `critic.track` in place of `critic.track_reward`"
        )

    def follow(self, error: Values, alpha: float) -> None:
        """Takes the step mu_i <- mu_i + rate alpha delta_i. Shapes: error [B, n]."""
        self.mu.add_(error, alpha=self.rate * alpha)

    def fused(self) -> Any:
        from marl.kernels.objectives import AverageRewardByErrors  # numba takes its time: only where it is used

        return AverageRewardByErrors(self.mu.numpy(), self.rate)


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
