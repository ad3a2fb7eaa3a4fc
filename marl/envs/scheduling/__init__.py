"""This is scheduling on a conflict graph: its law, the rules that it is known for, and the loads that can be carried."""

from marl.envs.scheduling.env import Scheduling
from marl.envs.scheduling.limits import capacity, links_alone, maximal_independent_sets
from marl.envs.scheduling.rules import (
    LocalLongestQueueFirst,
    LongestQueueFirst,
    MaxWeight,
    QueueBasedAccess,
    SlottedAloha,
)

__all__ = [
    "LocalLongestQueueFirst",
    "LongestQueueFirst",
    "MaxWeight",
    "QueueBasedAccess",
    "Scheduling",
    "SlottedAloha",
    "capacity",
    "links_alone",
    "maximal_independent_sets",
]
