"""Figures 2 and 5 of the paper: the Scalable Actor-Critic against ALOHA on the 5x5 multi-access network.

    python experiments/fig5_wireless.py            10 replicas, kappa = 0 and 1, both placements of access points
    python experiments/fig5_wireless.py --short    the same with 3 replicas (what `make demo` runs)

Writes OUT/figure.png, OUT/results.json and one run directory per curve (finished ones are not run again).
Uniform and ALOHA are evaluated, not trained; the best send probability on a grid of 20 is the benchmark, and its
reward is measured again on fresh noise, so that picking the best of 20 does not flatter it.
Exit code 1 unless uniform < best ALOHA < every learned policy.
"""

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from marl import Aloha, Environment, Uniform, build, evaluate
from marl.cli.train import compose
from marl.core.errors import MarlError
from marl.runs import train

PLACEMENTS = ("interior", "corners")
KAPPAS = (0, 1)
SEND_PROBABILITIES = np.linspace(0.05, 1.0, 20)
COLORS = {0: "tab:blue", 1: "tab:orange"}


def baselines(env: Environment, replicas: int, steps: int) -> dict[str, Any]:
    """Average reward of the uniform policy and of ALOHA at every send probability, each over `replicas` runs."""
    uniform = evaluate(env, Uniform(env, replicas=replicas), steps=steps).average_reward
    grid = np.repeat(SEND_PROBABILITIES, replicas).tolist()
    scan = evaluate(env, Aloha(env, send_probability=grid, replicas=len(grid)), steps=steps).average_reward
    scan = scan.reshape(len(SEND_PROBABILITIES), replicas).mean(dim=1)
    best = float(SEND_PROBABILITIES[int(scan.argmax())])
    again = evaluate(env, Aloha(env, send_probability=best, replicas=replicas), steps=steps, seed=10_000).average_reward
    return {
        "uniform": uniform.mean().item(),
        "aloha": again.mean().item(),
        "aloha_send_probability": best,
        "aloha_scan": dict(zip(SEND_PROBABILITIES.round(2).tolist(), scan.tolist(), strict=True)),
        "steps": steps,
        "replicas": replicas,
    }


def learn(placement: str, kappa: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Algorithm 1 with the step sizes of conf/experiment/fig5_*.yaml: the curve over replicas and its end."""
    overrides = [f"experiment=fig5_{placement}", f"critic.kappa={kappa}", f"seed={arguments.seed}"]
    overrides += [f"steps={arguments.steps}", f"replicas={arguments.replicas}"]
    directory = arguments.out / f"{placement},kappa={kappa}"
    summary = train(compose(overrides), directory, {"overrides.yaml": json.dumps(overrides)})
    with np.load(directory / "metrics.npz") as metrics:
        step, reward = metrics["step"], metrics["train/average_reward"]
    low, median, high = np.percentile(reward, [10, 50, 90], axis=1)
    return {
        "step": step.tolist(),
        "median": median.tolist(),
        "p10": low.tolist(),
        "p90": high.tolist(),
        "last_tenth": summary["average_reward"],
        "evaluated": summary["eval_average_reward"],
        "env_steps_per_second": summary["env_steps_per_second"],
        "overrides": overrides,
        "alpha": summary["config"]["critic_scheduler"],
        "eta": summary["config"]["actor_scheduler"],
        "versions": summary["versions"],
    }


def draw(results: dict[str, Any], path: Path) -> None:
    """One panel per placement: median and 10-90 % band over replicas, benchmarks as horizontal lines."""
    figure, panels = plt.subplots(1, len(PLACEMENTS), figsize=(10, 4), layout="constrained", sharey=True)
    for axes, placement in zip(panels, PLACEMENTS, strict=True):
        result = results[placement]
        for kappa in KAPPAS:
            curve, color = result[f"kappa={kappa}"], COLORS[kappa]
            axes.fill_between(curve["step"], curve["p10"], curve["p90"], color=color, alpha=0.2, linewidth=0)
            axes.plot(curve["step"], curve["median"], color=color, label=f"SAC, $\\kappa$ = {kappa}")
        base = result["baselines"]
        best = f"best ALOHA (x = {base['aloha_send_probability']:.2f})"
        axes.axhline(base["aloha"], color="0.2", linestyle="--", label=best)
        axes.axhline(base["uniform"], color="0.5", linestyle=":", label="uniform")
        axes.set(title=f"5x5 users, access points: {placement}", xlabel="environment step")
        axes.locator_params(axis="x", nbins=5)
        axes.legend(loc="upper left", ncols=2, fontsize=8)
    panels[0].set_ylim(0.1, 0.5)
    panels[0].set_ylabel("average reward per user and step")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def table(results: dict[str, Any]) -> tuple[str, bool]:
    """The rewards of the last tenth of training beside the benchmarks, and whether the order is the expected one."""
    lines = [f"{'':10}{'uniform':>10}{'best ALOHA':>12}" + "".join(f"{f'SAC kappa={k}':>16}" for k in KAPPAS)]
    ordered = True
    for placement in PLACEMENTS:
        base = results[placement]["baselines"]
        learned = [float(np.mean(results[placement][f"kappa={k}"]["last_tenth"])) for k in KAPPAS]
        lines.append(f"{placement:10}{base['uniform']:10.3f}{base['aloha']:12.3f}" + "".join(f"{x:16.3f}" for x in learned))
        ordered = ordered and base["uniform"] < base["aloha"] < min(learned)
    verdict = "uniform < best ALOHA < SAC" if ordered else "the expected order uniform < best ALOHA < SAC does NOT hold"
    return "\n".join([*lines, verdict]), ordered


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="3 replicas instead of 10")
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--replicas", type=int, help="overrides --short")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="default outputs/fig5_wireless or outputs/demo")
    arguments = parser.parse_args()
    if arguments.replicas is None:
        arguments.replicas = 3 if arguments.short else 10
    arguments.out = arguments.out or Path("outputs") / ("demo" if arguments.short else "fig5_wireless")
    torch.set_num_threads(1)

    results: dict[str, Any] = {"date": datetime.date.today().isoformat(), "command": " ".join(sys.argv)}
    for placement in PLACEMENTS:
        env = build.environment(compose([f"experiment=fig5_{placement}"]))
        results[placement] = {"baselines": baselines(env, arguments.replicas, 5_000)}
        for kappa in KAPPAS:
            print(f"Algorithm 1, {placement}, kappa = {kappa}, {arguments.replicas} replicas", file=sys.stderr, flush=True)
            results[placement][f"kappa={kappa}"] = learn(placement, kappa, arguments)
    (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw(results, arguments.out / "figure.png")
    text, ordered = table(results)
    print(f"\naverage reward per user and step (last 10 % of {arguments.steps} steps)\n{text}")
    print(f"\npicture: {arguments.out}/figure.png   numbers: {arguments.out}/results.json")
    print(f"curves:  tensorboard --logdir {arguments.out}")
    return 0 if ordered else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MarlError as error:
        sys.exit(f"fig5_wireless: {error}")
