"""How long a compiled step of every system takes beside that of the wireless network, with as many agents and neighbors.

    python benchmarks/systems.py [--repeats 101] [--agent-steps 200000] [--only SYSTEM ...]

One JSON line per setting: nanoseconds per agent and step, those of `env=wireless` timed in turn with it, and the median of
the ratios of the rounds (of shared machines only the ratio means something). A time is that of the environment's step alone
as the compiled loops call it: no noise, no draw of actions, no learning. States are those of runs of 30 steps under uniform
random legal actions, four of 10,000 agents or 1,600 of 25, stepped in turn.

In the wireless network (5x5, 100x100, interior points) a user shares points with up to 8 others; graphs are king:5x5 and
king:100x100, the same neighbors: 5.8 and 7.9 on average. A firefighter's house has 4.5 and 5.9 neighbors, an intersection
3.2 and 4.0: their grids are what they are, and are compared all the same.
"""

import argparse
import json
import statistics
import sys
import time
from typing import Any

import numba
import numpy as np
import torch

from marl import Epidemic, Firefighters, LoadBalancing, NetworkedMDP, Scheduling, SysAdmin, TrafficSignals, WirelessAccess
from marl.kernels.steps import StepArgument
from marl.testing.inputs import legal_actions

SIDES = 5, 100
ROWS = 40_000
"""Agents that are held ready, over all runs."""
PAGE = 512
"""Numbers of 8 bytes."""


def uneven(side: int) -> list[float]:
    """A weight for every edge of the king's graph."""
    edges = 2 * (side - 1) * (2 * side - 1)
    return np.random.default_rng(0).random(edges).tolist()


SYSTEMS = {
    "wireless": lambda side: WirelessAccess(rows=side, cols=side),
    "load_balancing": lambda side: LoadBalancing(f"king:{side}x{side}"),
    "epidemic": lambda side: Epidemic(f"king:{side}x{side}"),
    "epidemic, mutual": lambda side: Epidemic(f"king:{side}x{side}", mutual=True),
    "epidemic, weights": lambda side: Epidemic(f"king:{side}x{side}", weights=uneven(side)),
    "epidemic, weights, mutual": lambda side: Epidemic(f"king:{side}x{side}", weights=uneven(side), mutual=True),
    "firefighters": lambda side: Firefighters(rows=side - 1, cols=side - 1),
    "scheduling": lambda side: Scheduling(f"king:{side}x{side}"),
    "sysadmin": lambda side: SysAdmin(f"king:{side}x{side}"),
    "sysadmin, own crews": lambda side: SysAdmin(f"king:{side}x{side}", crews="own"),
    "traffic": lambda side: TrafficSignals(rows=side, cols=side),
}


@numba.njit
def replay(step: Any, numbers: Any, given: Any, found: Any, times: int) -> None:
    (ints, floats, work), (s, a, u), (next_s, r) = numbers, given, found
    for _ in range(times):
        for k in range(len(s)):
            step(ints, floats, work, s[k], a[k], u[k], next_s, r)


class Timed:
    """A system, ready to be stepped. Uniforms stand as in the engine, where one more is for the action."""

    def __init__(self, env: NetworkedMDP):
        draw = torch.Generator().manual_seed(0)
        u = torch.rand(31, ROWS // env.n, env.n, env.num_uniforms + 1, generator=draw, dtype=torch.float64)[..., :-1]
        s = env.reset(u[0])
        for k in range(1, 31):
            a = legal_actions(env, s, draw)
            s, before = env.step(s, a, u[k])[0], s
        form = env.fused()
        self.step, self.form, self.place = StepArgument(form.step), form, np.random.default_rng(0)
        self.given = before.numpy(), a.numpy(), u[30].numpy()
        self.network, self.agents = env.network, env.n
        self.nanoseconds(1)  # compiles, warms up

    def nanoseconds(self, agent_steps: int) -> float:
        """Per agent and step. What is written stands elsewhere every time: it matters which addresses are alike."""
        times = -(-agent_steps // ROWS)
        numbers = self.form.ints, self.form.floats, self.somewhere(self.form.work, np.int64)
        found = self.somewhere(self.agents, np.int64), self.somewhere(self.agents, np.float64)
        start = time.thread_time_ns()
        replay(self.step, numbers, self.given, found, times)
        return (time.thread_time_ns() - start) / (times * ROWS)

    def somewhere(self, length: int, kind: type) -> np.ndarray:
        """Room for so many numbers, at any of the places of a page."""
        first = int(self.place.integers(PAGE))
        return np.empty(length + PAGE, kind)[first : first + length]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=101)
    parser.add_argument("--agent-steps", type=int, default=200_000)
    parser.add_argument("--only", choices=SYSTEMS, action="append", metavar="SYSTEM")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for side in SIDES:
        wireless = Timed(SYSTEMS["wireless"](side))
        for name in arguments.only or SYSTEMS:
            print(f"{side * side} agents: {name} ", end="", file=sys.stderr, flush=True)
            system = Timed(SYSTEMS[name](side))
            rounds = [
                (system.nanoseconds(arguments.agent_steps), wireless.nanoseconds(arguments.agent_steps))
                for _ in range(arguments.repeats)
            ]
            ratios = sorted(mine / other for mine, other in rounds)
            line = {
                "benchmark": "systems",
                "system": name,
                "agents": system.agents,
                "degree": round(2 * len(system.network.edges) / system.agents, 1),
                "ratio": round(statistics.median(ratios), 2),
                "nanoseconds": round(statistics.median(mine for mine, _ in rounds), 2),
                "wireless": round(statistics.median(other for _, other in rounds), 2),
                "lowest": round(ratios[0], 2),
                "highest": round(ratios[-1], 2),
            }
            print(file=sys.stderr)
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
