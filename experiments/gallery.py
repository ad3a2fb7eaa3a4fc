"""The gallery: one experiment per method, the same networks and seeds for all; reward against steps and against seconds.

    python experiments/gallery.py [--steps 100000] [--draws 10,11,12,13,14] [--methods independent,additive,...]
                                  [--at-a-time 2] [--out outputs/gallery]

Every run is the command `marl train experiment=METHOD env.instance_seed=DRAW steps=STEPS`, which runs again by itself. A
draw is one choice of all p_i and q_y on the 5x5 network with interior access points; 0, 1 and 2 are the draws that the
step sizes were chosen on, so they are not among those above. References, on the same draws: the best of 20 ALOHA policies,
the dedicated matching (the best way to give every point to at most one user) and the flow bound, which no policy can pass.

Scores are average rewards over the last tenth of training, divided by a reference draw by draw; intervals are 95 %
percentile bootstrap intervals of the mean over draws of the mean over seeds, seeds redrawn within draws.
Writes OUT/figure.png, OUT/results.json, OUT/METHOD/draw_D (run directories; finished ones are not run again).
"""

import argparse
import concurrent.futures
import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from fig5_wireless import baselines

from marl import WirelessAccess
from marl.core.errors import MarlError
from marl.envs.wireless.limits import dedicated_matching, flow_bound
from marl.runs.results import Run, find

METHODS = {
    "independent": "tabular, own reward only (kappa = 0)",
    "tabular": "tabular, kappa = 1 (Algorithm 1)",
    "ippo": "independent PPO, shared networks",
    "neural": "neural critic, kappa = 1",
    "graph": "graph network critic, kappa = 1",
    "natural": "additive critic, natural gradient",
    "additive": "additive critic, kappa = 1",
    "pairwise": "pairwise critic, neighborhood policies",
}
"""Experiment -> what it is."""


def run(method: str, draw: int, arguments: argparse.Namespace) -> Run:
    """One run of all seeds, in a process of its own."""
    directory = arguments.out / method / f"draw_{draw}"
    command = [sys.executable, "-m", "marl", "train", f"experiment={method}", f"env.instance_seed={draw}"]
    command += [f"steps={arguments.steps}", f"replicas={arguments.seeds}", "threads=1", f"hydra.run.dir={directory}"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        raise SystemExit(f"gallery: {method}, draw {draw}: {done.stderr.splitlines()[-1]}")
    print(f"{method}, draw {draw}: done", file=sys.stderr, flush=True)
    return find([directory])[0][0]


def references(draw: int, steps: int) -> dict[str, float]:
    """The rewards to compare with, on one draw."""
    env = WirelessAccess(instance_seed=draw)
    return {
        "ALOHA": baselines(env, replicas=20, steps=max(20, min(steps, 100_000)))["aloha"],
        "dedicated": dedicated_matching(env)[0],
        "flow": flow_bound(env),
    }


def interval(scores: np.ndarray, seed: int = 0) -> tuple[float, float, float]:
    """Mean and 95 % interval. Shapes: scores [draws, seeds]."""
    rng = np.random.default_rng(seed)
    count = scores.shape[1]
    drawn = rng.integers(count, size=(2000, *scores.shape))
    means = np.take_along_axis(np.broadcast_to(scores, drawn.shape), drawn, axis=2).mean(axis=(1, 2))
    low, high = np.quantile(means, [0.025, 0.975])
    return float(scores.mean()), float(low), float(high)


def summary(runs: list[Run], limits: list[dict[str, float]]) -> dict[str, Any]:
    """What the table says of one method."""
    score = np.stack([np.asarray(run.summary["average_reward"]) for run in runs])
    found: dict[str, Any] = {"reward": interval(score)}
    for name in ("ALOHA", "dedicated"):
        found[name] = interval(score / np.array([[limit[name]] for limit in limits]))
    gap = np.array([[limit["dedicated"], limit["flow"]] for limit in limits])
    found["gap"] = interval((score - gap[:, :1]) / (gap[:, 1:] - gap[:, :1]))
    found["steps_per_second"] = float(np.mean([run.summary["env_steps_per_second"] for run in runs]))
    found["per_draw"] = score.mean(axis=1).tolist()
    return found


def table(results: dict[str, Any]) -> str:
    """One line per method, in Markdown."""
    lines = ["| method | reward | / best ALOHA | / dedicated | gap to the flow bound closed | steps/s |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for method, found in results["methods"].items():
        cells = [f"{mean:.3f} ({low:.3f} to {high:.3f})" for mean, low, high in (found["reward"],)]
        cells += ["{:.2f} ({:.2f} to {:.2f})".format(*found[name]) for name in ("ALOHA", "dedicated", "gap")]
        lines.append(f"| `{method}`: {METHODS[method]} | {' | '.join(cells)} | {found['steps_per_second']:,.0f} |")
    return "\n".join(lines)


def draw_figure(curves: dict[str, list[Run]], limits: list[dict[str, float]], path: Path) -> None:
    """Mean over draws of reward / dedicated matching, against steps and against seconds of training."""
    figure, panels = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained", sharey=True)
    dedicated = np.array([limit["dedicated"] for limit in limits])
    for color, (method, runs) in zip(plt.colormaps["tab10"].colors, curves.items(), strict=False):
        share = np.stack([run.reward / limit for run, limit in zip(runs, dedicated, strict=True)])  # [draws, L, seeds]
        mean, spread = share.mean(axis=(0, 2)), 1.96 * share.std(axis=2).mean(axis=0) / share.shape[2] ** 0.5
        steps = runs[0].steps
        seconds = steps / np.mean([run.summary["env_steps_per_second"] for run in runs])
        for axes, x in zip(panels, (steps, seconds), strict=True):
            axes.fill_between(x, mean - spread, mean + spread, color=color, alpha=0.25, linewidth=0)
            axes.plot(x, mean, color=color, label=METHODS[method], linewidth=1.2)
    for axes, label in zip(panels, ("environment step", "seconds of training, all seeds side by side"), strict=True):
        for name, style in (("ALOHA", "--"), ("dedicated", "-."), ("flow", "-")):
            level = float(np.mean([limit[name] / limit["dedicated"] for limit in limits]))
            axes.axhline(level, color="0.3", linestyle=style, linewidth=1)
            axes.annotate(name, (0.01, level), xycoords=("axes fraction", "data"), fontsize=7, va="bottom")
        axes.set(xscale="log", xlabel=label)
    panels[0].set_ylabel("average reward / dedicated matching")
    panels[1].legend(fontsize=7, loc="upper left")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--draws", default="10,11,12,13,14")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--at-a-time", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("outputs/gallery"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    draws, methods = [int(draw) for draw in arguments.draws.split(",")], arguments.methods.split(",")
    if unknown := set(methods) - set(METHODS):
        parser.error(f"there is no method {unknown.pop()!r}; there are {', '.join(METHODS)}")
    with concurrent.futures.ThreadPoolExecutor(arguments.at_a_time) as pool:
        jobs = {(m, d): pool.submit(run, m, d, arguments) for m in methods for d in draws}
        curves = {m: [jobs[m, d].result() for d in draws] for m in methods}
    limits = [references(draw, arguments.steps) for draw in draws]
    results = {
        "date": datetime.date.today().isoformat(),
        "command": " ".join(["python", *sys.argv]),
        "references": dict(zip(draws, limits, strict=True)),
        "methods": {method: summary(runs, limits) for method, runs in curves.items()},
    }
    (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw_figure(curves, limits, arguments.out / "figure.png")
    print(table(results))
    print(f"\npicture: {arguments.out}/figure.png   numbers: {arguments.out}/results.json")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MarlError as error:
        sys.exit(f"gallery: {error}")
