"""Localized policies."""

from marl.policies.aloha import Aloha
from marl.policies.neural import NeuralPolicy
from marl.policies.random_table import RandomTable
from marl.policies.softmax import TabularSoftmax
from marl.policies.state_independent import StateIndependentSoftmax
from marl.policies.uniform import Uniform

__all__ = ["Aloha", "NeuralPolicy", "RandomTable", "StateIndependentSoftmax", "TabularSoftmax", "Uniform"]
