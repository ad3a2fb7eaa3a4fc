"""Random search over step sizes: so many runs with numbers drawn at random, then the table of all.

    python examples/random_search.py DRAWS [OVERRIDE ...]

Numbers are drawn from a fixed seed, so the same command goes on where it was stopped. Exit code 1 if any run failed.
"""

import random
import subprocess
import sys


def main(draws: int, overrides: list[str]) -> int:
    draw, marl, failed = random.Random(0), [sys.executable, "-m", "marl"], 0
    for _ in range(draws):
        alpha, eta = 10 ** draw.uniform(-2.0, 0.0), 10 ** draw.uniform(-1.0, 1.5)
        sizes = [f"critic_scheduler.value={alpha:.4f}", f"actor_scheduler.value={eta:.3f}"]
        failed += subprocess.run([*marl, "train", *overrides, *sizes]).returncode != 0
    subprocess.run([*marl, "plot", "outputs"], check=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
