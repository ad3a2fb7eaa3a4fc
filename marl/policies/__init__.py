"""These policies fit any finite environment: they see the own state alone, or the neighbors' states too."""

from marl.policies.neighborhood import NeighborhoodNeural, NeighborhoodSoftmax, NeighborhoodTable
from marl.policies.neural import NeuralPolicy
from marl.policies.random_table import RandomTable
from marl.policies.shared import SharedPolicy
from marl.policies.softmax import TabularSoftmax
from marl.policies.state_independent import StateIndependentSoftmax
from marl.policies.uniform import Uniform

__all__ = [
    "NeighborhoodNeural",
    "NeighborhoodSoftmax",
    "NeighborhoodTable",
    "NeuralPolicy",
    "RandomTable",
    "SharedPolicy",
    "StateIndependentSoftmax",
    "TabularSoftmax",
    "Uniform",
]
