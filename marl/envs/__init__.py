"""Every system has its environment in a folder of its own.

A folder has `env` (the law and the sampler), `kernel` (its compiled step) and, where there are some, `rules` (its own
heuristics as policies) and `limits` (what can be had at most). `graph` makes networks from their names, `incidence` reads
who reaches what is shared; `alone` bounds what agents can have together by what each could have alone; `parallel` hands
environments to other libraries.
"""

from marl.envs.coloring import Coloring
from marl.envs.epidemic import Epidemic
from marl.envs.firefighters import Firefighters
from marl.envs.graph import graph
from marl.envs.load_balancing import LoadBalancing
from marl.envs.local_mdp import LocalMDP, local_mdp_from_file, random_local_mdp
from marl.envs.scheduling import Scheduling
from marl.envs.sysadmin import SysAdmin
from marl.envs.traffic import TrafficSignals
from marl.envs.wireless import WirelessAccess

__all__ = [
    "Coloring",
    "Epidemic",
    "Firefighters",
    "LoadBalancing",
    "LocalMDP",
    "Scheduling",
    "SysAdmin",
    "TrafficSignals",
    "WirelessAccess",
    "graph",
    "local_mdp_from_file",
    "random_local_mdp",
]
