"""Environments."""

from marl.envs.coloring import Coloring
from marl.envs.graph import graph
from marl.envs.local_mdp import LocalMDP, local_mdp_from_file
from marl.envs.random_local_mdp import random_local_mdp
from marl.envs.wireless import WirelessAccess

__all__ = ["Coloring", "LocalMDP", "WirelessAccess", "graph", "local_mdp_from_file", "random_local_mdp"]
