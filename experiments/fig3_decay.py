"""Figure 3 of the paper: the left side of (4) against kappa, exactly, on random instances of appendix B.4.

    python experiments/fig3_decay.py                               3a (line of 10) and 3b (2x6 grid), 100 instances each
    python experiments/fig3_decay.py --instances 1000              more of them
    python experiments/fig3_decay.py --graphs line:20 grid:2x10    larger than a matrix could be

Two local states and three actions per agent; transition rows, policies and rewards uniform, in both readings of
"uniformly random" (`normalized`: uniform numbers divided by their sum; `dirichlet`: uniform on the simplex). Agent 0 is
the end of the line and the corner of the grid. s, s', a, a' are drawn once per instance. Instance k has the instance
seed SEED + k. The rate of an instance is fitted to its curve (least squares on logarithms, what is below 1e-14 of the
largest left out as rounding).

Writes OUT/figure.png and OUT/results.json. Exit code 1 unless every median falls with kappa, down to rounding.
"""

import argparse
import datetime
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from marl import RandomTable, random_local_mdp
from marl.core.errors import MarlError
from marl.envs import graph
from marl.exact import AverageValues, Chain, decay_curve, fit
from marl.exact.interaction import random_pairs

DISTRIBUTIONS = ("normalized", "dirichlet")
COLORS = {"normalized": "tab:blue", "dirichlet": "tab:orange"}
AGENT = 0
ROUNDING = 1e-14
"""Q is of order one in float64: smaller differences are rounding."""


def measure(name: str, distribution: str, instances: int, seed: int) -> dict[str, Any]:
    """The curves of all instances on one graph, and the fitted rates."""
    network = graph(name)
    curves, rates, residuals, errors = [], [], [], []
    clock = time.perf_counter()
    for k in range(seed, seed + instances):
        env = random_local_mdp(network, distribution=distribution, instance_seed=k)
        policy = RandomTable(env, distribution=distribution, instance_seed=k)
        values = AverageValues(Chain(env, policy), [AGENT])
        curve = decay_curve(values, AGENT, *random_pairs(env, 2, torch.Generator().manual_seed(k)))
        curves.append(curve.numpy())
        rates.append(fit(curve).rate)
        residuals.append(float(values.solution.residual))
        errors.append(float(values.solution.error))
    eccentricity = int(network.distances(AGENT).max())
    low, median, high = np.percentile(curves, [10, 50, 90], axis=0)
    return {
        "agents": network.n,
        "joint_states": 2**network.n,
        "rounding": ROUNDING,
        "kappa": list(range(network.n)),
        "eccentricity": eccentricity,
        "median": median.tolist(),
        "p10": low.tolist(),
        "p90": high.tolist(),
        "rate_median": float(np.nanmedian(rates)),
        "rate_p10": float(np.nanpercentile(rates, 10)),
        "rate_p90": float(np.nanpercentile(rates, 90)),
        "largest_residual": max(residuals),
        "error_bounded": int(np.isfinite(errors).sum()),
        "largest_error_bound": max((error for error in errors if np.isfinite(error)), default=None),
        "seconds": time.perf_counter() - clock,
    }


def draw(results: dict[str, Any], graphs: list[str], path: Path) -> None:
    """One panel per graph: median and 10-90 % band over instances, logarithmic axis."""
    figure, panels = plt.subplots(1, len(graphs), figsize=(5 * len(graphs), 4), layout="constrained", squeeze=False)
    for axes, name in zip(panels[0], graphs, strict=True):
        for distribution in DISTRIBUTIONS:
            result = results[name][distribution]
            shown = slice(0, int((np.array(result["median"]) > ROUNDING).sum()))  # below: rounding; beyond: zero
            color, kappa = COLORS[distribution], result["kappa"][shown]
            axes.fill_between(kappa, result["p10"][shown], result["p90"][shown], color=color, alpha=0.2, linewidth=0)
            label = f"{distribution}, rate {result['rate_median']:.3f}"
            axes.plot(kappa, result["median"][shown], color=color, marker="o", markersize=3, label=label)
        axes.set(title=f"{name}, agent {AGENT}", xlabel=r"$\kappa$", yscale="log")
        axes.legend(fontsize=8)
    panels[0][0].set_ylabel("left side of (4)")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def table(results: dict[str, Any], graphs: list[str]) -> tuple[str, bool]:
    """Rates and speed, and whether every median falls with kappa."""
    lines = [f"{'graph':12}{'drawn':12}{'rate':>8}{'10 %':>8}{'90 %':>8}{'kappa=0':>10}{'last':>10}{'ms/instance':>13}"]
    falls = True
    for name in graphs:
        for distribution in DISTRIBUTIONS:
            result = results[name][distribution]
            median = np.array(result["median"])[: result["eccentricity"]]
            median = median[median > ROUNDING]
            falls = falls and bool((np.diff(median) < 0).all())
            speed = 1e3 * result["seconds"] / results["instances"]
            lines.append(
                f"{name:12}{distribution:12}{result['rate_median']:8.4f}{result['rate_p10']:8.4f}{result['rate_p90']:8.4f}"
                f"{median[0]:10.1e}{median[-1]:10.1e}{speed:13.1f}"
            )
    verdict = "every median falls with kappa" if falls else "a median does NOT fall with kappa"
    return "\n".join([*lines, verdict]), falls


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=100)
    parser.add_argument("--graphs", nargs="+", default=["line:10", "grid:2x6"], help="as env.graph of random_local_mdp")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("outputs/fig3_decay"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)

    results: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "command": " ".join(sys.argv),
        "instances": arguments.instances,
        "seed": arguments.seed,
    }
    for name in arguments.graphs:
        results[name] = {}
        for distribution in DISTRIBUTIONS:
            print(f"{name}, {distribution}, {arguments.instances} instances", file=sys.stderr, flush=True)
            results[name][distribution] = measure(name, distribution, arguments.instances, arguments.seed)
    results["peak_memory_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw(results, arguments.graphs, arguments.out / "figure.png")
    text, falls = table(results, arguments.graphs)
    print(f"\n{text}\npeak memory {results['peak_memory_gib']:.2f} GiB")
    print(f"picture: {arguments.out}/figure.png   numbers: {arguments.out}/results.json")
    return 0 if falls else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MarlError as error:
        sys.exit(f"fig3_decay: {error}")
