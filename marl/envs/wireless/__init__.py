"""This is the multi-access wireless network: its law, the rules that it is known for, and what can be had at most."""

from marl.envs.wireless.env import WirelessAccess
from marl.envs.wireless.limits import dedicated_matching, flow_bound
from marl.envs.wireless.rules import Aloha, DedicatedMatching

__all__ = ["Aloha", "DedicatedMatching", "WirelessAccess", "dedicated_matching", "flow_bound"]
