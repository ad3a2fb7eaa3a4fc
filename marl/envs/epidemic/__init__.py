"""This is the epidemic with import: its law, and the rules by which agents shield themselves."""

from marl.envs.epidemic.env import Epidemic
from marl.envs.epidemic.rules import (
    AlwaysShield,
    NeverShield,
    ShieldByCentrality,
    ShieldByDegree,
    ShieldIfNeighborInfected,
    eigenvector_centrality,
)

__all__ = [
    "AlwaysShield",
    "Epidemic",
    "NeverShield",
    "ShieldByCentrality",
    "ShieldByDegree",
    "ShieldIfNeighborInfected",
    "eigenvector_centrality",
]
