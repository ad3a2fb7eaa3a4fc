"""Theorem 3 shown: under a frozen policy the critic's tables go to the fixed point of (24), which is near Q.

    python experiments/theorem3_critic.py              200,000 steps, 16 replicas, kappa = 0 and 1

Three agents in a line with 2 states and 1, 2, 1 actions (random laws, interaction 0.3, private actions and rewards,
instance seed 0), a random policy that stays as it is, tabular critics whose dummy pair is pair 0 of every agent,
alpha_t = 16 (t + 100)^-0.7. At 50 points of the run the distance of the replicas' tables from `critic_fixed_point` is
taken (root mean square over joint pairs and agents).

Writes OUT/figure.png and OUT/results.json. Exit code 1 unless at the end the mean over replicas of every entry lies
within its statistical error of the fixed point (Student t, Bonferroni over all entries, error probability 1e-4), and the
fixed point within Theorem 3's bound of Q.
"""

import argparse
import datetime
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch

from marl import Constant, PowerLaw, RandomTable, ScalableActorCritic, TabularCritic, random_local_mdp
from marl.core.errors import MarlError
from marl.exact import Chain, JointPairs, LocalLaws, certificate, critic_error, critic_fixed_point, ergodicity

DUMMY = 0
ALPHA = PowerLaw(16.0, 0.7, 100.0)
ERROR = 1e-4


def follow(kappa: int, steps: int, replicas: int) -> dict[str, Any]:
    """One batch of replicas, its distance from the fixed point over time, and the verdicts at the end."""
    env = random_local_mdp("line:3", num_actions=[1, 2, 1], interaction=0.3)
    policy = RandomTable(env, replicas=replicas)
    joint = JointPairs(Chain(env, policy))
    critic = TabularCritic(env, kappa=kappa, dummy=DUMMY, replicas=replicas)
    trainer = ScalableActorCritic(env, policy, critic, critic_scheduler=ALPHA, actor_scheduler=Constant(0.0))
    fixed = torch.stack([_everywhere(joint, i, kappa) for i in range(env.n)], dim=1)  # [Z, n]
    at, distances = [], []
    for stop in np.unique(np.geomspace(100, steps, 50).astype(int)).tolist():
        trainer.run(stop - trainer.t)
        at.append(stop)
        distances.append((_tables(critic, joint) - fixed).square().mean(dim=(1, 2)).sqrt().tolist())
        print(f"kappa {kappa}: step {stop}, distance {np.mean(distances[-1]):.4f}", file=sys.stderr, flush=True)
    final = _tables(critic, joint)
    error = final.std(dim=0) / replicas**0.5
    score = ((final.mean(dim=0) - fixed).abs() / error.clamp(min=1e-300)).where(error > 0, 0.0)
    bounds, mu = certificate(LocalLaws(env)).bounds, ergodicity(joint.chain).mu_D
    assert bounds is not None
    return {
        "step": at,
        "distance": distances,
        "largest_score": float(score.max()),
        "allowed_score": _student(1.0 - ERROR / (2 * score.unique().numel()), replicas - 1),
        "largest_entry": float(fixed.abs().max()),
        "error_of_q": max(
            critic_error(joint, i, kappa, critic_fixed_point(joint.chain, i, kappa, DUMMY)) for i in range(env.n)
        ),
        "bound_of_theorem_3": float(bounds[kappa].max()) / (1.0 - mu),
        "mu_D": mu,
    }


def _everywhere(joint: JointPairs, i: int, kappa: int) -> torch.Tensor:
    """The fixed point of agent i at every joint pair."""
    near = [j for j in range(joint.chain.n) if abs(i - j) <= kappa]
    numbers = np.unravel_index(np.arange(joint.num_pairs), joint.sizes)
    return critic_fixed_point(joint.chain, i, kappa, DUMMY)[tuple(torch.from_numpy(numbers[j]) for j in near)]


@torch.no_grad()
def _tables(critic: TabularCritic, joint: JointPairs) -> torch.Tensor:
    """[B, Z, n]: every replica's Q_i at every joint pair."""
    s, a = joint.pairs
    rows = [critic.q(s[z].expand(critic.replicas, -1), a[z].expand(critic.replicas, -1)) for z in range(len(s))]
    return torch.stack(rows, dim=1)


def _student(level: float, freedom: int) -> float:
    """A quantile of Student's t, by Hill's expansion (1970); within 1 % from 10 degrees of freedom on."""
    z = statistics.NormalDist().inv_cdf(level)
    first = (z**3 + z) / (4 * freedom)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * freedom**3)
    return z + first + second + third


def draw(results: dict[str, Any], path: Path) -> None:
    """Median and 10-90 % band over replicas, both axes logarithmic."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for kappa, color in ((0, "tab:blue"), (1, "tab:orange")):
        result = results[f"kappa={kappa}"]
        low, median, high = np.percentile(result["distance"], [10, 50, 90], axis=1)
        axes.fill_between(result["step"], low, high, color=color, alpha=0.2, linewidth=0)
        axes.plot(result["step"], median, color=color, label=f"$\\kappa$ = {kappa}")
    axes.set(xscale="log", yscale="log", xlabel="environment step", ylabel="distance from the fixed point of (24)")
    axes.legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--replicas", type=int, default=16)
    parser.add_argument("--out", type=Path, default=Path("outputs/theorem3_critic"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"date": datetime.date.today().isoformat(), "command": " ".join(sys.argv)}
    good = True
    for kappa in (0, 1):
        result = results[f"kappa={kappa}"] = follow(kappa, arguments.steps, arguments.replicas)
        good = good and result["largest_score"] <= result["allowed_score"]
        good = good and result["error_of_q"] <= result["bound_of_theorem_3"]
        distance = f"distance {np.mean(result['distance'][-1]):.4f} of entries up to {result['largest_entry']:.3f}"
        scores = f"{result['largest_score']:.2f} standard errors ({result['allowed_score']:.2f} allowed)"
        near = f"{result['error_of_q']:.4g}, bound of Theorem 3 {result['bound_of_theorem_3']:.4g}"
        print(f"kappa = {kappa}: {distance}; mean over replicas off by at most {scores}; fixed point to Q {near}")
    (arguments.out / "results.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    draw(results, arguments.out / "figure.png")
    print(f"picture: {arguments.out}/figure.png   numbers: {arguments.out}/results.json")
    return 0 if good else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MarlError as error:
        sys.exit(f"theorem3_critic: {error}")
