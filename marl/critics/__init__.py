"""Truncated critics see the pairs of a neighborhood."""

from marl.critics.additive import AdditiveCritic, PairwiseCritic
from marl.critics.graph import GraphCritic
from marl.critics.linear import LinearCritic, RandomFeatures
from marl.critics.neural import NeuralCritic
from marl.critics.shared import SharedCritic
from marl.critics.state_value import GraphStateValue, NeuralStateValue, StateValue
from marl.critics.tabular import TabularCritic

__all__ = [
    "AdditiveCritic",
    "GraphCritic",
    "GraphStateValue",
    "LinearCritic",
    "NeuralCritic",
    "NeuralStateValue",
    "PairwiseCritic",
    "RandomFeatures",
    "SharedCritic",
    "StateValue",
    "TabularCritic",
]
