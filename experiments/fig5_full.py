"""Figure 5 of the paper at full length: 10^6 steps, kappa = 0, 1 and 2, both placements, two choices of step sizes.

    python experiments/fig5_full.py [--steps 1000000] [--replicas 20] [--out outputs/fig5_full]

constant:  alpha = 0.1, eta = 3. They learn fast and do not meet Assumption 3.
power law: alpha_t = 0.5 (t+1)^-0.51, eta_t = 100 (t+1)^-0.55. They meet Assumption 3.
Horizontal lines: the uniform policy, the best of 20 ALOHA policies, the dedicated matching (every access point is given to
at most one user, which always sends) and the flow bound, which no policy can pass.

Writes OUT/figure.png, OUT/results.json and OUT/curves/*.npz (one per curve; finished ones are not run again). Replicas run
in groups that fit into memory: replica b has seed + b, so the grouping changes no number.
"""

import argparse
import datetime
import json
import sys
import time
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from fig5_wireless import PLACEMENTS, baselines

from marl import Constant, PowerLaw, ScalableActorCritic, TabularCritic, TabularSoftmax, TwoTimescale, WirelessAccess
from marl.core.errors import MarlError
from marl.envs.wireless.limits import dedicated_matching, flow_bound
from marl.loggers import ArrayLogger
from marl.runs.last_tenth import last_tenth_mean

KAPPAS = (0, 1, 2)
SIZES = {
    "constant": (Constant(0.1), Constant(3.0)),
    "power law": (PowerLaw(0.5, 0.51), PowerLaw(100.0, 0.55)),
}
AT_A_TIME = {0: 20, 1: 10, 2: 4}
"""Replicas side by side: a table of kappa = 2 takes 1 GiB after 10^6 steps, and half as much again while it grows."""
COLORS = {0: "tab:blue", 1: "tab:orange", 2: "tab:green"}


def learn(placement: str, kappa: int, sizes: str, steps: int, replicas: int, seed: int) -> dict[str, np.ndarray]:
    """step [L] and reward [L, replicas] of every log point, seconds of training in all, entries per replica at the end."""
    groups = []
    for first in range(0, replicas, AT_A_TIME[kappa]):
        count = min(AT_A_TIME[kappa], replicas - first)
        groups.append(learn_side_by_side(placement, kappa, sizes, steps, count, seed + first))
    steps_of, rewards, seconds, entries = zip(*groups, strict=True)
    return {
        "step": steps_of[0],
        "reward": np.concatenate(rewards, axis=1),
        "seconds": np.array(sum(seconds)),
        "entries": np.concatenate(entries),
    }


def learn_side_by_side(
    placement: str, kappa: int, sizes: str, steps: int, replicas: int, seed: int
) -> tuple[np.ndarray, np.ndarray, float, np.ndarray]:
    """The parts of `learn` for one group; its tables are gone when it returns."""
    env, arrays = WirelessAccess(access_points=placement), ArrayLogger()
    trainer = ScalableActorCritic(
        env,
        TabularSoftmax(env, replicas=replicas, seed=seed),
        TabularCritic(env, kappa=kappa, replicas=replicas, seed=seed),
        critic_scheduler=SIZES[sizes][0],
        actor_scheduler=SIZES[sizes][1],
        seed=seed,
        log_every=max(1, steps // 200),
        loggers=[arrays],
    )
    began = time.perf_counter()
    trainer.run(steps)
    seconds = time.perf_counter() - began
    held = arrays.arrays()
    return held["step"], held["train/average_reward"], seconds, np.full(replicas, trainer.critic.table.metrics()["entries"])


def curve(path: Path, placement: str, kappa: int, sizes: str, arguments: argparse.Namespace) -> dict[str, np.ndarray]:
    """`learn`, or what an earlier call of the same length, replicas, seed and step sizes left in `path`."""
    length = {"steps": arguments.steps, "replicas": arguments.replicas, "seed": arguments.seed}
    asked = {**length, "sizes": [vars(scheduler) for scheduler in SIZES[sizes]]}
    if path.exists():
        with np.load(path) as held:
            if json.loads(str(held["asked"])) == asked:
                return dict(held)
    found = learn(placement, kappa, sizes, **length)
    found["asked"] = np.array(json.dumps(asked))
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path.with_suffix(".part.npz"), **found)
    path.with_suffix(".part.npz").replace(path)
    return found


def references(placement: str, arguments: argparse.Namespace) -> dict[str, float]:
    """The rewards of the horizontal lines."""
    env = WirelessAccess(access_points=placement)
    found = baselines(env, arguments.replicas, max(20, min(arguments.steps, 100_000)))
    return {
        "uniform": found["uniform"],
        "best ALOHA": found["aloha"],
        "dedicated matching": dedicated_matching(env)[0],
        "flow bound": flow_bound(env),
    }


def draw(results: dict[str, Any], curves: dict[tuple[str, str, int], dict[str, np.ndarray]], path: Path) -> None:
    """Rows: step sizes; columns: placements. Mean over replicas and a 95 % band for the mean, time logarithmic."""
    figure, panels = plt.subplots(len(SIZES), len(PLACEMENTS), figsize=(10, 7), layout="constrained", sharex=True)
    styles = {"uniform": ":", "best ALOHA": "--", "dedicated matching": "-.", "flow bound": "-"}
    for row, sizes in zip(panels, SIZES, strict=True):
        for axes, placement in zip(row, PLACEMENTS, strict=True):
            for kappa in KAPPAS:
                found = curves[placement, sizes, kappa]
                mean, low, high = band(found["reward"])
                axes.fill_between(found["step"], low, high, color=COLORS[kappa], alpha=0.25, linewidth=0)
                axes.plot(found["step"], mean, color=COLORS[kappa], label=f"SAC, $\\kappa$ = {kappa}")
            for name, value in results[placement]["references"].items():
                axes.axhline(value, color="0.3", linestyle=styles[name], linewidth=1, label=name)
            axes.set(xscale="log", title=f"access points: {placement}; step sizes: {sizes}")
        row[0].set_ylabel("average reward per user and step")
    for axes in panels[-1]:
        axes.set_xlabel("environment step")
    panels[1][0].legend(fontsize=8, loc="upper left", ncols=2)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def band(reward: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over replicas [L] and its 95 % interval by the normal law. Shapes: reward [L, B]."""
    mean = reward.mean(axis=1)
    half = 1.96 * reward.std(axis=1, ddof=1) / reward.shape[1] ** 0.5 if reward.shape[1] > 1 else np.zeros(len(reward))
    return mean, mean - half, mean + half


def last_tenth(found: dict[str, np.ndarray]) -> tuple[float, float]:
    """Gives the mean over replicas of the reward of the last tenth, and its 95 % half width."""
    mean, low, _ = band(last_tenth_mean(found["step"], found["reward"])[None])
    return float(mean[0]), float(mean[0] - low[0])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1_000_000)
    parser.add_argument("--replicas", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("outputs/fig5_full"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, Any] = {"date": datetime.date.today().isoformat(), "command": " ".join(sys.argv)}
    curves = {}
    for placement in PLACEMENTS:
        results[placement] = {"references": references(placement, arguments)}
        for sizes, (alpha, eta) in SIZES.items():
            results[placement][sizes] = {"assumption 3": str(TwoTimescale.check(alpha, eta))}
            for kappa in KAPPAS:
                print(f"{placement}, {sizes}, kappa = {kappa}", file=sys.stderr, flush=True)
                path = arguments.out / "curves" / f"{placement},{sizes.replace(' ', '_')},kappa={kappa}.npz"
                found = curves[placement, sizes, kappa] = curve(path, placement, kappa, sizes, arguments)
                reward, half = last_tenth(found)
                results[placement][sizes][f"kappa={kappa}"] = {
                    "last_tenth": reward,
                    "half_width": half,
                    "seconds": float(found["seconds"]),
                    "entries": float(found["entries"].mean()),
                }
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw(results, curves, arguments.out / "figure.png")
    print(table(results))
    print(f"\npicture: {arguments.out}/figure.png   numbers: {arguments.out}/results.json")
    return 0


def table(results: dict[str, Any]) -> str:
    """One line per placement and choice of step sizes, in Markdown."""
    names = list(results[PLACEMENTS[0]]["references"])
    learned = [f"kappa = {kappa}" for kappa in KAPPAS]
    lines = ["| access points | step sizes | " + " | ".join(names + learned) + " |"]
    lines.append("| --- | --- |" + " ---: |" * len(names + learned))
    for placement in PLACEMENTS:
        for sizes in SIZES:
            shown = [f"{results[placement]['references'][name]:.3f}" for name in names]
            ends = [results[placement][sizes][f"kappa={kappa}"] for kappa in KAPPAS]
            shown += [f"{end['last_tenth']:.3f} +- {end['half_width']:.3f}" for end in ends]
            lines.append(f"| {placement} | {sizes} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MarlError as error:
        sys.exit(f"fig5_full: {error}")
