"""These environments are given by explicit tables: from arrays, from a file, or drawn at random."""

from marl.envs.local_mdp.env import LocalMDP, local_mdp_from_file
from marl.envs.local_mdp.random_instance import random_local_mdp

__all__ = ["LocalMDP", "local_mdp_from_file", "random_local_mdp"]
