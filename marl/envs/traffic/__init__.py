"""This is a grid of traffic signals on the cell transmission model: its law, and the rules that they follow."""

from marl.envs.traffic.env import TrafficSignals
from marl.envs.traffic.rules import FixedTime, LongestQueue, MaxPressure

__all__ = ["FixedTime", "LongestQueue", "MaxPressure", "TrafficSignals"]
