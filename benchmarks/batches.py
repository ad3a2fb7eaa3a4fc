"""What learning in batches gains: neural critic and policy, 5x5 network, kappa = 1, K steps between updates, B replicas.

    python benchmarks/batches.py [--repeats 5] [--seconds 2] [--large]

One JSON line per setting; `ratio` is env steps per second over those of one step at a time with one replica;
`replica_ratio` counts every replica. Every setting is timed once per round, rounds follow one another, and medians of the
rounds are reported. One thread.
--large: 2,500 agents too (50x50 users).
"""

import argparse
import json
import statistics
import time

import torch

from marl import Constant, NeuralCritic, NeuralPolicy, RolloutActorCritic, WirelessAccess

SETTINGS = [(5, 1, 1), (5, 1, 8), (5, 8, 8), (5, 32, 1), (5, 32, 8), (5, 128, 8)]
"""Cells per side, K, B."""
LARGE = [(50, 32, 1)]


def trainer(side: int, rollout: int, replicas: int) -> RolloutActorCritic:
    env = WirelessAccess(rows=side, cols=side)
    return RolloutActorCritic(
        env,
        NeuralPolicy(env, replicas=replicas),
        NeuralCritic(env, kappa=1, replicas=replicas),
        rollout=rollout,
        critic_scheduler=Constant(0.1),
        actor_scheduler=Constant(3.0),
        log_every=10**9,
    )


def rate(made: RolloutActorCritic, seconds: float) -> float:
    """Environment steps per second, of whole rollouts for at least so long."""
    start, before = time.perf_counter(), made.t
    while time.perf_counter() - start < seconds:
        made.run(max(32, made.buffer.length))
    return (made.t - before) / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--large", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    made = {setting: trainer(*setting) for setting in SETTINGS + LARGE * arguments.large}
    for each in made.values():
        each.run(2 * each.buffer.length)  # compiles, warms up
    rates: dict[tuple[int, int, int], list[float]] = {setting: [] for setting in made}
    for _ in range(arguments.repeats):
        for setting, each in made.items():
            rates[setting].append(rate(each, arguments.seconds))
    one = statistics.median(rates[SETTINGS[0]])
    for (side, rollout, replicas), found in rates.items():
        median = statistics.median(found)
        line = {
            "benchmark": "batches",
            "agents": side**2,
            "rollout": rollout,
            "replicas": replicas,
            "env_steps_per_second": round(median, 1),
            "replica_steps_per_second": round(median * replicas, 1),
            "ratio": round(median / one, 2),
            "replica_ratio": round(median * replicas / one, 2),
            "fastest": round(max(found), 1),
            "slowest": round(min(found), 1),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
