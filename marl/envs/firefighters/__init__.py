"""This is the row or grid of houses that firefighters protect: its law and the rules that it is known for."""

from marl.envs.firefighters.env import Firefighters
from marl.envs.firefighters.rules import FightAlternately, FightHigher, FightLower

__all__ = ["FightAlternately", "FightHigher", "FightLower", "Firefighters"]
