"""Milliseconds per random instance of appendix B.4 for V of agent 0 and its decay curve, one JSON line per setting.

    python benchmarks/exact.py [--repeats 5] [--largest 20]

Median over instances; `solve_ms` is the Poisson equation and the curve, `total_ms` also reading the laws off the
environment and planning. The dense route builds the matrix over all joint states.
"""

import argparse
import json
import platform
import statistics
import time

import torch

from marl import RandomTable, random_local_mdp
from marl.envs import graph
from marl.exact import AverageValues, Chain, LocalLaws, decay_curve
from marl.exact.interaction import random_pairs

SETTINGS = [
    ("line:10", "free"),
    ("line:10", "dense"),
    ("grid:2x6", "free"),
    ("grid:2x6", "dense"),
    ("line:16", "free"),
    ("line:20", "free"),
]


def timings(name: str, method: str, seed: int) -> tuple[float, float, int]:
    """(solve, total) in milliseconds, and the iterations."""
    env = random_local_mdp(graph(name), instance_seed=seed)
    policy, draw = RandomTable(env, instance_seed=seed), torch.Generator().manual_seed(seed)
    start = time.perf_counter()
    chain = Chain(env, policy, method=method, laws=LocalLaws(env))
    chain.rewards([0])
    planned = time.perf_counter()
    values = AverageValues(chain, [0], tolerance=1e-12)
    decay_curve(values, 0, *random_pairs(env, 2, draw))
    end = time.perf_counter()
    return 1e3 * (end - planned), 1e3 * (end - start), values.solution.iterations


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--largest", type=int, default=20, help="leave out networks with more agents")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, method in SETTINGS:
        agents = graph(name).n
        if agents > arguments.largest:
            continue
        timings(name, method, 0)  # compiles
        found = [timings(name, method, seed) for seed in range(1, arguments.repeats + 1)]
        result = {
            "benchmark": "exact_decay",
            "graph": name,
            "method": method,
            "joint_states": 2**agents,
            "solve_ms": round(statistics.median(solve for solve, _, _ in found), 2),
            "total_ms": round(statistics.median(total for _, total, _ in found), 2),
            "iterations": statistics.median(iterations for _, _, iterations in found),
            "python": platform.python_version(),
            "torch": torch.__version__,
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
