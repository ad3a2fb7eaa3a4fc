"""This is the k-coloring problem of appendix A.2."""

from marl.envs.coloring.env import Coloring

__all__ = ["Coloring"]
