"""How long a run takes to its first step, from the start of its process.

    python benchmarks/start.py [--repeats 5]

One JSON line: medians, with the fastest and the slowest, over rounds in which each is timed once: `marl train steps=1`
(the compiled engine; a run before the first round leaves its kernels on disk) to its first step, to its end and to the end
of its process; `marl --help`; and a process that only imports torch, which no run can do without.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time

TRAIN = """
import sys, time
from marl.cli import main
from marl.trainers.trainer import Trainer

def advance(trainer, steps, plain=Trainer._timed_advance):
    plain(trainer, steps)
    print("first step", time.monotonic())

Trainer._timed_advance = advance
sys.argv = ["marl", "train", "steps=1"]
assert main() == 0
print("end", time.monotonic())
"""
HELP = "import sys; sys.argv = ['marl', '--help']; from marl.cli import main; main()"


def process(program: str) -> dict[str, float]:
    """What the program prints as a name and a time, and when it is over: seconds from its start."""
    with tempfile.TemporaryDirectory() as directory:
        start = time.monotonic()  # the same clock in every process
        done = subprocess.run([sys.executable, "-c", program], cwd=directory, capture_output=True, text=True, check=False)
        over = time.monotonic()
    if done.returncode:
        sys.exit(done.stderr)
    words = [line.rsplit(" ", 1) for line in done.stdout.splitlines()]
    told = {"first step", "end"}
    return {line[0]: float(line[1]) - start for line in words if line[0] in told} | {"process": over - start}


def measure() -> dict[str, float]:
    """Each of them once."""
    return {
        "torch": process("import torch")["process"],
        "help": process(HELP)["process"],
        **{f"train, {name}": seconds for name, seconds in process(TRAIN).items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    process(TRAIN)
    rounds = [measure() for _ in range(repeats)]
    columns = {name: [one[name] for one in rounds] for name in rounds[0]}
    print(
        json.dumps(
            {
                name: {"s": round(statistics.median(column), 2), "s_from_to": [round(f(column), 2) for f in (min, max)]}
                for name, column in columns.items()
            }
        )
    )


if __name__ == "__main__":
    main()
