"""Truncated critics."""

from marl.critics.neural import NeuralCritic
from marl.critics.tabular import TabularCritic

__all__ = ["NeuralCritic", "TabularCritic"]
