"""Localized policies."""

from marl.policies.aloha import Aloha
from marl.policies.neural import NeuralPolicy
from marl.policies.softmax import TabularSoftmax
from marl.policies.uniform import Uniform

__all__ = ["Aloha", "NeuralPolicy", "TabularSoftmax", "Uniform"]
