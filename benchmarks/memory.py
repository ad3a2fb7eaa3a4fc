"""The memory of a run: what it foretells before it starts against what the process then holds.

    python benchmarks/memory.py                       a few settings, each in a process of its own
    python benchmarks/memory.py SIDE KAPPA STEPS REPLICAS    one setting, here

One JSON line per setting: bytes per agent as foretold (what is held, and the growth of the table) and as measured: by how
much the resident memory of the process grew from before the network was made to the end of the run, without what the C
library keeps of memory given back to it. Linux only.
"""

import json
import subprocess
import sys
from pathlib import Path

import torch

from marl import Constant, ScalableActorCritic, TabularCritic, TabularSoftmax, WirelessAccess
from marl.runs.memory import bytes_held, forecast, return_freed

SETTINGS = [(316, 0, 20, 1), (316, 1, 20, 1), (100, 1, 200, 4), (50, 1, 1000, 1), (160, 0, 100, 8)]


def resident() -> int:
    """Bytes of this process that are in memory, after what is free in it has gone back to the machine."""
    return_freed()
    (line,) = [
        line for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if line.startswith("VmRSS")
    ]
    return int(line.split()[1]) * 1024


def trainer(side: int, kappa: int, replicas: int) -> ScalableActorCritic:
    """Algorithm 1 on a side x side network."""
    env = WirelessAccess(rows=side, cols=side)
    return ScalableActorCritic(
        env,
        TabularSoftmax(env, replicas=replicas),
        TabularCritic(env, kappa=kappa, replicas=replicas),
        critic_scheduler=Constant(0.1),
        actor_scheduler=Constant(3.0),
        log_every=10**9,
    )


def measure(side: int, kappa: int, steps: int, replicas: int) -> dict[str, float]:
    """Foretold and measured bytes."""
    torch.set_num_threads(1)
    for small in (0, 1):  # imports, kernels and threads are not the network's
        trainer(3, small, replicas).run(5)
    before = resident()
    run = trainer(side, kappa, replicas)
    soon, table = run.memory_ahead(steps)
    forecast(run, side * side, soon, table)
    foretold = bytes_held(run) + soon + table
    run.run(steps)
    taken = resident() - before
    agents = side * side
    return {
        "agents": agents,
        "kappa": kappa,
        "steps": steps,
        "replicas": replicas,
        "foretold_bytes_per_agent": round(foretold / agents, 1),
        "table_bytes_per_agent": round(run.critic.table.metrics()["bytes"] / agents, 1),
        "measured_bytes_per_agent": round(taken / agents, 1),
        "measured_to_foretold": round(taken / foretold, 3),
    }


def main() -> None:
    if len(sys.argv) == 5:
        print(json.dumps(measure(*map(int, sys.argv[1:]))), flush=True)
    elif len(sys.argv) == 1:
        for setting in SETTINGS:
            subprocess.run([sys.executable, __file__, *map(str, setting)], check=True)
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
