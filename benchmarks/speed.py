"""Environment steps per second of the autograd engine on the 5x5 network, one JSON line per setting.

    python benchmarks/speed.py [--repeats 5] [--steps 1000]

The median of several repeats is the number to quote, and ratios within one run are the ones to compare: machines differ.
`replica_steps_per_second` counts every replica; `env_steps_per_second` counts steps of the clock.
"""

import argparse
import json
import platform
import statistics
import time

import torch

from marl import Constant, NeuralCritic, ScalableActorCritic, TabularCritic, TabularSoftmax, WirelessAccess

SETTINGS = [(critic, kappa, replicas) for critic in ("tabular", "neural") for kappa in (0, 1) for replicas in (1, 32)]


def rate(critic: str, kappa: int, replicas: int, steps: int, repeats: int) -> list[float]:
    """Steps per second of `repeats` stretches of one run, after a warm-up."""
    env = WirelessAccess()
    make = {"tabular": TabularCritic, "neural": NeuralCritic}[critic]
    trainer = ScalableActorCritic(
        env,
        TabularSoftmax(env, replicas=replicas),
        make(env, kappa=kappa, replicas=replicas),
        critic_scheduler=Constant(0.1),
        actor_scheduler=Constant(3.0),
        engine="autograd",
    )
    trainer.run(steps // 10)
    rates = []
    for _ in range(repeats):
        start = time.perf_counter()
        trainer.run(steps)
        rates.append(steps / (time.perf_counter() - start))
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for critic, kappa, replicas in SETTINGS:
        rates = rate(critic, kappa, replicas, arguments.steps, arguments.repeats)
        median = statistics.median(rates)
        result = {
            "benchmark": "scalable_actor_critic",
            "engine": "autograd",
            "env": "wireless 5x5 interior",
            "critic": critic,
            "kappa": kappa,
            "replicas": replicas,
            "dtype": "float64",
            "env_steps_per_second": round(median, 1),
            "replica_steps_per_second": round(median * replicas, 1),
            "fastest": round(max(rates), 1),
            "slowest": round(min(rates), 1),
            "steps": arguments.steps,
            "repeats": arguments.repeats,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
