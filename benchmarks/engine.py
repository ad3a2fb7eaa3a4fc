"""The compiled engine: against plain Python and a hand-tuned kernel if you have one, and how it grows.

    python benchmarks/engine.py [--repeats 5] [--only engines|growth|length] [--beside NAME:COMMAND ...]

One JSON line per setting. Every setting is timed once per round and rounds follow one another, so that a slow moment of
the machine meets all of them; the median of the rounds is reported, with the fastest and the slowest. A time covers
everything `Trainer.run` does: steps, growth of the table, log points with an event file (one per 5,000 steps; 5 in all for
`growth`, 200 for `length`). A virtual machine may take seconds to hand out memory that it has not used yet: 8 GiB, more
than any setting holds, are touched before every run is set up. Ctrl-C ends it with the rounds so far.

engines: engine x kappa x replicas x dtype on the 5x5 network with interior points; `--beside` times programs of your own in
the same rounds (a JSON line with "steps_per_s" is read from what they print).
growth: agents from 25 to a million and kappa from 0 to 2.
length: the rate of 10^4 to 10^6 steps of one run at kappa = 1, while the table grows.
"""

import argparse
import contextlib
import json
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from marl import PowerLaw, ScalableActorCritic, TabularCritic, TabularSoftmax, WirelessAccess
from marl.loggers import TensorBoardLogger

Measure = Callable[[], float]
"""Runs once and returns environment steps per second."""

PAGED_IN = 2**30
"""Numbers of 8 bytes that are written before a run is set up."""
STEPS = {"fused": 1_000_000, "autograd": 1_000}


def training(
    engine: str, kappa: int, replicas: int, dtype: str, steps: int, side: int = 5, log_every: int = 5_000
) -> Measure:
    """A whole run from step 0, with a log point every so many steps, at least one."""

    def once() -> float:
        np.ones(PAGED_IN)
        env = WirelessAccess(rows=side, cols=side)
        kind = getattr(torch, dtype)
        with tempfile.TemporaryDirectory() as directory:
            trainer = ScalableActorCritic(
                env,
                TabularSoftmax(env, replicas=replicas, dtype=kind),
                TabularCritic(env, kappa=kappa, replicas=replicas, dtype=kind),
                critic_scheduler=PowerLaw(0.5, 0.4),
                actor_scheduler=PowerLaw(20.0, 0.5),
                engine=engine,
                log_every=min(steps, log_every),
                loggers=[TensorBoardLogger(Path(directory), env=env, config={}, picture=False)],
            )
            began = time.perf_counter()
            trainer.run(steps)
            seconds = time.perf_counter() - began
            trainer.loggers[0].close()
        return steps / seconds

    return once


def beside(command: str) -> Measure:
    """A program of the user's own."""

    def once() -> float:
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=True)
        return float(json.loads(done.stdout.splitlines()[-1])["steps_per_s"])

    return once


def engines(others: dict[str, str]) -> Iterator[tuple[dict[str, Any], Measure]]:
    """Settings of the 5x5 network; `agents` and `replicas` say what a step is."""
    for name, command in others.items():
        yield {"beside": name, "agents": 25, "replicas": 1}, beside(command)
    for kappa in (0, 1, 2):
        for replicas in (1, 16):
            yield setting("fused", kappa, replicas, "float64")
        yield setting("autograd", kappa, 1, "float64")
    yield setting("fused", 1, 1, "float32")


def setting(engine: str, kappa: int, replicas: int, dtype: str) -> tuple[dict[str, Any], Measure]:
    """One line of `engines`."""
    steps = STEPS[engine] // (4 if kappa == 2 else 1)
    said = {"engine": engine, "kappa": kappa, "replicas": replicas, "dtype": dtype, "steps": steps, "agents": 25}
    return said, training(engine, kappa, replicas, dtype, steps)


def growth() -> Iterator[tuple[dict[str, Any], Measure]]:
    """The same number of agent-steps on ever larger networks."""
    for kappa, sides in {0: (5, 16, 50, 100, 316, 1000), 1: (5, 16, 50, 100, 316, 1000), 2: (5, 50, 100)}.items():
        for side in sides:
            steps = 40 if kappa else max(20, 10_000_000 // side**2)
            said = {"engine": "fused", "kappa": kappa, "replicas": 1, "steps": steps, "agents": side**2}
            yield said, training("fused", kappa, 1, "float64", steps, side, steps // 5)


def length() -> Iterator[tuple[dict[str, Any], Measure]]:
    """Longer and longer runs."""
    for steps in (10_000, 100_000, 1_000_000):
        said = {"engine": "fused", "kappa": 1, "replicas": 1, "steps": steps, "agents": 25}
        yield said, training("fused", 1, 1, "float64", steps, log_every=steps // 200)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=("engines", "growth", "length"), action="append")
    parser.add_argument("--beside", action="append", default=[], metavar="NAME:COMMAND")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    others = dict(text.split(":", 1) for text in arguments.beside)
    groups = {"engines": lambda: engines(others), "growth": growth, "length": length}
    for name in arguments.only or groups:
        settings = list(groups[name]())
        rates: list[list[float]] = [[] for _ in settings]
        with contextlib.suppress(KeyboardInterrupt):
            for measured in range(arguments.repeats + 1):
                for k, (said, once) in enumerate(settings):
                    if measured or "beside" not in said:  # the first round compiles and warms up
                        where = f"\r{name}: round {measured}, {k + 1} of {len(settings)} "
                        print(where, end="", file=sys.stderr, flush=True)
                        rate = once()
                        rates[k] += [rate] if measured else []
        print(file=sys.stderr)
        medians = {
            said["beside"]: statistics.median(found)
            for (said, _), found in zip(settings, rates, strict=True)
            if found and "beside" in said
        }
        for (said, _), found in zip(settings, rates, strict=True):
            if found:
                report(name, said, found, {} if "beside" in said else medians)


def report(group: str, said: dict[str, Any], found: list[float], others: dict[str, float]) -> None:
    """The JSON line of one setting, the ratios of its replica-steps to the steps of other programs first."""
    median = statistics.median(found)
    ratios = {f"times {name}": round(median * said["replicas"] / other, 2) for name, other in others.items()}
    result = {
        "benchmark": group,
        **said,
        **ratios,
        "steps_per_second": round(median, 1),
        "replica_steps_per_second": round(median * said["replicas"], 1),
        "agent_steps_per_second": round(median * said["replicas"] * said["agents"], 1),
        "fastest": round(max(found), 1),
        "slowest": round(min(found), 1),
        "repeats": len(found),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
