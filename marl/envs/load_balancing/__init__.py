"""This is load balancing on a graph: its law, the rules that dispatchers are known to follow, and a bound on the loss."""

from marl.envs.load_balancing.env import LoadBalancing
from marl.envs.load_balancing.limits import pooled_loss
from marl.envs.load_balancing.rules import JoinShortestQueue, Keep, OverflowOnly, TwoChoices

__all__ = ["JoinShortestQueue", "Keep", "LoadBalancing", "OverflowOnly", "TwoChoices", "pooled_loss"]
