"""What states and actions of the systems are called: short, and no two of one agent alike."""

import networkx as nx
import pytest

from marl import Network
from marl.core.environment import FiniteEnvironment
from marl.envs import Epidemic, Firefighters, LoadBalancing, Scheduling, SysAdmin, TrafficSignals

TOWNS = Network.from_networkx(nx.Graph([("Bonn", "Köln"), ("Köln", "Aachen")]))

NAMED = [  # (environment, agent, its first and last state, its first and last action)
    (LoadBalancing("line:4", buffer=[1, 1, 3, 2]), 2, ("no job", "3 jobs"), ("keep", "to 3")),
    (LoadBalancing("line:4", buffer=1), 0, ("no job", "1 job"), ("keep", "to 1")),
    (LoadBalancing(TOWNS), 1, ("no job", "3 jobs"), ("keep", "to Aachen")),
    (Epidemic(), 0, ("susceptible", "infected"), ("open", "shield")),
    (Epidemic(waning=0.1), 5, ("susceptible", "recovered"), ("open", "shield")),
    (Firefighters(agents=2, levels=[1, 2, 3]), 1, ("level 0", "level 2"), ("left", "right")),
    (Firefighters(agents=2), 2, ("level 0", "level 2"), ("no agent", "no agent")),
    (Firefighters(rows=1, cols=2), 0, ("level 0", "level 2"), ("upper left", "lower right")),
    (Firefighters(rows=1, cols=1), 1, ("level 0", "level 2"), ("no agent", "no agent")),
    (Scheduling(buffer=2), 3, ("no packet", "2 packets"), ("idle", "send")),
    (SysAdmin("line:3"), 1, ("good, idle", "dead, done"), ("wait", "request crew 1")),
    (SysAdmin("line:3", crews=[[4], [0, 2], [2]]), 0, ("good, idle", "dead, done"), ("wait", "request crew 4")),
    (TrafficSignals(), 4, ("n0 e0 s0 w0, north-south", "n2 e2 s2 w2, east-west left"), ("hold", "advance")),
    (
        TrafficSignals(1, 2, capacity=1, elapsed=3),
        1,
        ("n0 e0 s0 w0, north-south, step 0", "n1 e1 s1 w1, east-west left, step 2"),
        ("hold", "advance"),
    ),
]


@pytest.mark.parametrize(("env", "i", "states", "actions"), NAMED)
def test_names(env: FiniteEnvironment, i: int, states: tuple[str, str], actions: tuple[str, str]) -> None:
    called = (
        [env.state_name(i, s) for s in range(env.num_states[i])],
        [env.action_name(i, a) for a in range(env.num_actions[i])],
    )
    for names, (first, last) in zip(called, (states, actions), strict=True):
        assert (names[0], names[-1]) == (first, last)
    for agent in range(env.n):
        for name, size in ((env.state_name, env.num_states[agent]), (env.action_name, env.num_actions[agent])):
            names = [name(agent, k) for k in range(size)]
            assert len(set(names)) == len(names)
            assert max(map(len, names)) <= 40
