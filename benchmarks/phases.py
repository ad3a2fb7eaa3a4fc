"""Where a step of the compiled engine goes: each phase of the kernel is run twice, and what that adds is its cost.

    python benchmarks/phases.py [--steps 400000] [--repeats 5]

Prints one JSON line per kappa: microseconds of a whole step on the 5x5 network with interior points, and of every phase.
Phases are told apart by statements of two files of marl/kernels; a copy of the package is compiled per phase. Only phases
that can be repeated without changing the run are measured; `rest` is what remains (probing and updating the table, mu,
sums, and whatever overlaps).
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import marl

LOOP = "    for c in range(choosing):\n        "
STEPS, ROWS = "actor_critic.py", "softmax_table.py"
PHASES = {  # name -> (file of marl/kernels, first statement, first statement after it)
    "noise": (STEPS, "        fill(progress", "        step(numbers"),
    "environment": (STEPS, "        step(numbers", "        for i in range(n):\n            if next_s"),
    "draw of actions": (STEPS, "        for i in range(n):  # line 4", "        for i in range(n):  # before line 6"),
    "sum over neighbors": (STEPS, "            for c in range(choosing):  # line 7", "            check += climb"),
    "read policy rows": (ROWS, f"{LOOP}start, g", f"{LOOP}x, g"),
    "softmax": (ROWS, "    normalize(actions", f"{LOOP}start, inverse"),
    "write policy rows": (ROWS, f"{LOOP}start, inverse", "    return check"),
}
TIMED = """
import sys, time, torch
from marl import PowerLaw, ScalableActorCritic, TabularCritic, TabularSoftmax, WirelessAccess
kappa, steps = int(sys.argv[1]), int(sys.argv[2])
env = WirelessAccess()
sizes = {"critic_scheduler": PowerLaw(0.5, 0.4), "actor_scheduler": PowerLaw(20.0, 0.5)}
parts = env, TabularSoftmax(env), TabularCritic(env, kappa=kappa)
trainer = ScalableActorCritic(*parts, **sizes, engine="fused", log_every=steps)
trainer.run(steps)
began = time.perf_counter()
trainer.run(steps)
print((time.perf_counter() - began) / steps * 1e6)
"""


def repeated(source: str, start: str, end: str) -> str:
    """`source` with the lines from `start` to before `end` written twice."""
    first = source.index(start)
    last = source.index(end, first)
    return source[:last] + source[first:last] + source[last:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=400_000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    package = Path(marl.__file__).parent
    variants = {"whole": None, **PHASES}
    with tempfile.TemporaryDirectory() as directory:
        for name, where in variants.items():
            copy = Path(directory) / name / "marl"
            shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
            if where is not None:
                path = copy / "kernels" / where[0]
                path.write_text(repeated(path.read_text(encoding="utf-8"), *where[1:]), encoding="utf-8")
        for kappa in (0, 1):
            found: dict[str, list[float]] = {name: [] for name in variants}
            for measured in range(arguments.repeats + 1):
                for name, times in found.items():
                    print(f"\rkappa = {kappa}, round {measured}: {name}          ", end="", file=sys.stderr, flush=True)
                    command = [sys.executable, "-c", TIMED, str(kappa), str(arguments.steps)]
                    environment = {**os.environ, "PYTHONPATH": str(Path(directory) / name)}
                    done = subprocess.run(
                        command, env=environment, capture_output=True, text=True, check=True, cwd=directory
                    )
                    if measured:  # the first round compiles
                        times.append(float(done.stdout))
            whole = statistics.median(found["whole"])
            cost = {name: statistics.median(times) - whole for name, times in found.items() if name != "whole"}
            cost["rest"] = whole - sum(cost.values())
            shown = {name: round(value, 3) for name, value in cost.items()}
            print(json.dumps({"kappa": kappa, "microseconds": round(whole, 3), "phases": shown}), flush=True)


if __name__ == "__main__":
    main()
