"""Why Algorithm 1 and critics that learn in batches collapse on the epidemic: one thing changed at a time, scored exactly.

    python experiments/collapse.py [--seeds 5] [--short 10000] [--out outputs/collapse]

Six agents in a ring have 64 joint states, so every policy at the end is scored by `marl.exact`, and what a learner
estimates can be put in exactly. Rows differ from Algorithm 1 (`method=tabular`: alpha = .3, eta = 1) in what they name:
  eta, alpha       its step sizes; fading steps: alpha_t = 30 (t + 1000)^-.6, eta_t = 40 (t + 10000)^-.7 (Assumption 3)
  critic first     10,000 steps of the critic before the actor moves
  exact critic     Q is the truncated Q-function (5) of the policy of 200 steps ago at most
  all actions      line 7 averaged over the agent's own action, from the same table: no noise from the level of Q
  exact, ...       ascent along (7) itself, or along the gradient, a step of eta for every step of time
and of the methods that learn in batches: their former settings, with other actor steps, and as they are in conf/method.
J: the mean over seeds and the worst; H: entropy per agent at the end, in nats; gradient: norm of the exact one there.
Writes OUT/figure.png, OUT/table.md and OUT/results.json.
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

from marl import (
    Constant,
    NeighborhoodSoftmax,
    Policy,
    RolloutActorCritic,
    ScalableActorCritic,
    TabularCritic,
    TabularSoftmax,
    build,
)
from marl.cli.train import compose
from marl.core.critic import CounterfactualCritic
from marl.core.errors import MarlError
from marl.exact import (
    AverageValues,
    Chain,
    JointPairs,
    LocalLaws,
    approximate_gradient,
    ascend,
    gradient,
    optimum,
    truncated_q,
)
from marl.exact.gradient import norm

STEPS = 100_000
ASCENT = 10_000
"""Steps of exact ascent, after which it has long been still."""
FRESH = 200
"""Steps for which an exact critic stays as it is."""
FADING = ["~critic_scheduler.value", "~actor_scheduler.value", "critic_scheduler=power_law", "actor_scheduler=power_law"]
FADING += ["critic_scheduler.scale=30", "critic_scheduler.exponent=0.6", "critic_scheduler.offset=1000"]
FADING += ["actor_scheduler.scale=40", "actor_scheduler.exponent=0.7", "actor_scheduler.offset=10000"]
FORMER = ["critic_scheduler.end=1", "actor_scheduler.end=${actor_scheduler.start}", "trainer.entropy.start=0.1"]
FORMER += ["trainer.actor_optimizer._target_=torch.optim.SGD"]


class AskedTable(TabularCritic, CounterfactualCritic):
    """A table that is asked for every action of an agent while the others do what they did; all actions are legal."""

    def _counterfactual(self, s: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        n, actions = self.env.n, self.env.action_mask.shape[2]
        index, mask, _ = self.neighborhood
        near = torch.zeros(n, n, dtype=self.dtype).scatter_add_(1, index, mask.to(self.dtype))
        instead = a.expand(n, actions, *a.shape).clone()
        for i in range(n):
            instead[i, ..., i] = torch.arange(actions).view(-1, *[1] * (a.dim() - 1))
        q = self.q(s.expand(instead.shape), instead).detach()
        return torch.einsum("ix...j,ij->...ix", q, near) / n


class Ring:
    """The epidemic on a ring of six, and what is known of policies there."""

    def __init__(self) -> None:
        self.env = build.environment(compose(["env=epidemic"]))
        self.laws = LocalLaws(self.env)

    def chains(self, policy: Policy) -> list[Chain]:
        """One of every replica."""
        return [Chain(self.env, policy, replica=b, laws=self.laws) for b in range(policy.replicas)]

    def score(self, policy: Policy) -> list[float]:
        """J of every replica, exactly."""
        return [reward(chain) for chain in self.chains(policy)]

    def known(self, policy: Policy, steps: int) -> dict[str, Any]:
        """J, entropy and the norm of the gradient, of every replica."""
        chains = self.chains(policy)
        s = torch.from_numpy(chains[0].states())[:, None].expand(-1, policy.replicas, -1)
        entropy = policy.entropy(s).mean(dim=(0, 2)).tolist()
        scores, slopes = [reward(chain) for chain in chains], [norm(gradient(chain)) for chain in chains]
        return {"J": scores, "H": entropy, "slope": slopes, "steps": steps}


def reward(chain: Chain) -> float:
    """J, exactly."""
    return float(AverageValues(chain).J.mean())


def trained(ring: Ring, words: list[str], seeds: int, stops: list[int], first: int = 0) -> tuple[Any, list[list[float]]]:
    """Runs `marl train` with these words, after `first` steps of the critic alone; the scores at some times."""
    config = compose([*words, "env=epidemic", f"steps={stops[-1]}", f"replicas={seeds}"])
    trainer: Any = build.trainer(config, ring.env, build.replicas(config), stops[-1])
    eta, trainer.eta = trainer.eta, Constant(0.0) if first else trainer.eta
    if first:
        trainer.run(first)
    trainer.eta, scores = eta, []
    for stop in stops:
        trainer.run(stop - trainer.t)
        scores.append(ring.score(trainer.policy))
    return trainer, scores


def changed(ring: Ring, seeds: int, steps: int, exact: bool, all_actions: bool) -> Policy:
    """Algorithm 1 with an exact critic, or all actions in line 7, or both."""
    policy = TabularSoftmax(ring.env, replicas=seeds)
    critic = (AskedTable if all_actions else TabularCritic)(ring.env, kappa=1, replicas=seeds)
    rates: Any = {"critic_scheduler": Constant(0.0 if exact else 0.3), "actor_scheduler": Constant(1.0)}
    if all_actions:
        trainer: Any = RolloutActorCritic(ring.env, policy, critic, rollout=1, gradient="all_actions", **rates)
    else:
        trainer = ScalableActorCritic(ring.env, policy, critic, **rates)
    for stop in range(FRESH, steps + 1, FRESH) if exact else [steps]:
        if exact:
            for b, chain in enumerate(ring.chains(policy)):
                joint = JointPairs(chain)
                s, a = (part[:, None].expand(-1, seeds, -1) for part in joint.pairs)
                with torch.no_grad():
                    critic.table.values[critic.table.slots(s, a)[:, b], 0] = truncated_q(joint, 1)
        trainer.run(stop - trainer.t)
    return policy


def climbed(ring: Ring, policy: Any, noise: float, seed: int, kappa: int | None) -> tuple[Any, list[int], list[float]]:
    """Follows the exact (7), or the gradient (None), in steps of eta = 1 per unit of time, from logits of some noise."""
    with torch.no_grad():
        policy.theta += noise * torch.randn(policy.theta.shape, generator=torch.Generator().manual_seed(seed))
    t, times, scores = 0, [], []
    while t < ASCENT:
        chain = ring.chains(policy)[0]
        times.append(t)
        scores.append(reward(chain))
        slope = gradient(chain) if kappa is None else approximate_gradient(JointPairs(chain), kappa)
        step = min(max(5, t // 8), ASCENT - t)
        with torch.no_grad():
            policy.theta[0] += step * slope["theta"]
        t += step
    return policy, [*times, t], [*scores, *ring.score(policy)]


def critic_error(ring: Ring, alpha: float, seeds: int) -> dict[str, float]:
    """How far the table is from (5) under the uniform policy, up to a constant, beside its spread and an action's."""
    words = ["method=tabular", f"critic_scheduler.value={alpha}", "actor_scheduler.value=0"]
    trainer, _ = trained(ring, words, seeds, [20_000])
    joint = JointPairs(ring.chains(trainer.policy)[0])
    s, a = (part[:, None].expand(-1, seeds, -1) for part in joint.pairs)
    true, weight = truncated_q(joint, 1)[:, None], joint.stationary[:, None, None]
    off = trainer.critic.q(s, a).detach() - true
    off = off - (weight * off).sum(dim=0, keepdim=True)
    asked = AskedTable(ring.env, kappa=1, replicas=1)
    with torch.no_grad():
        asked.table.values[asked.table.slots(s[:, :1], a[:, :1])[:, 0], 0] = true[:, 0]
    gains = asked.counterfactual(s[:, :1], a[:, :1]) * ring.env.n
    gap = (gains[..., 1] - gains[..., 0])[:, 0]
    return {
        "alpha": alpha,
        "error": float((weight * off.square()).sum(dim=0).mean().sqrt()),
        "spread": float((weight * true.square()).sum(dim=0).mean().sqrt()),
        "action": float((weight[:, 0] * gap.square()).sum(dim=0).mean().sqrt()),
    }


def studied(ring: Ring, seeds: int, short: int) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """All rows of the table, and the curves."""
    rows, curves = {}, {}
    stops = np.unique(np.geomspace(10, STEPS, 30).astype(int)).tolist()

    def row(name: str, words: list[str], steps: list[int], first: int = 0) -> None:
        trainer, scores = trained(ring, words, seeds, steps, first)
        rows[name] = ring.known(trainer.policy, steps[-1])
        print(f"{name}: {np.mean(rows[name]['J']):.4f}", file=sys.stderr, flush=True)
        if len(steps) > 1:
            curves[name] = {"step": steps, "J": scores}

    row("Algorithm 1, alpha = .3, eta = 1", ["method=tabular"], stops)
    row("Algorithm 1, fading steps", ["method=tabular", *FADING], stops)
    for eta in (10, 0.1, 0.01):
        row(f"eta = {eta}", ["method=tabular", f"actor_scheduler.value={eta}"], [STEPS])
    for alpha in (0.1, 0.01):
        row(f"alpha = {alpha}", ["method=tabular", f"critic_scheduler.value={alpha}"], [STEPS])
    row("critic first", ["method=tabular"], [STEPS + 10_000], 10_000)
    row("Algorithm 1, shorter", ["method=tabular"], [short])
    for exact, every in ((True, False), (False, True), (True, True)):
        name = " and ".join(["exact critic"] * exact + ["all actions"] * every)
        rows[name] = ring.known(changed(ring, seeds, short, exact, every), short)
        print(f"{name}: {np.mean(rows[name]['J']):.4f}", file=sys.stderr, flush=True)
    climbs: list[tuple[str, float, Any, int | None]] = [
        ("exact (7), from uniform", 0.0, TabularSoftmax, 1),
        ("exact (7), start disturbed", 0.1, TabularSoftmax, 1),
        ("exact gradient, from uniform", 0.0, TabularSoftmax, None),
        ("exact (7), agents see one hop", 0.0, NeighborhoodSoftmax, 1),
        ("exact (7) of kappa = 2, agents see one hop", 0.0, NeighborhoodSoftmax, 2),
        ("exact gradient, agents see one hop", 0.0, NeighborhoodSoftmax, None),
    ]
    for name, noise, kind, kappa in climbs:
        ends = [climbed(ring, kind(ring.env), noise, seed, kappa) for seed in range(seeds if noise else 1)]
        found = [ring.known(policy, ASCENT) for policy, _, _ in ends]
        rows[name] = {key: [one[key][0] for one in found] for key in ("J", "H", "slope")} | {"steps": ASCENT}
        print(f"{name}: {np.mean(rows[name]['J']):.4f}", file=sys.stderr, flush=True)
        if kind is TabularSoftmax and kappa is not None:
            curves[name] = {"step": ends[0][1][1:], "J": np.array([scores[1:] for _, _, scores in ends]).T.tolist()}
    for method, rollout, etas in (("pairwise", 8, (2400, 24)), ("additive", 32, (100, 1))):
        for eta in etas:
            words = [f"method={method}", *FORMER, f"trainer.rollout={rollout}", f"actor_scheduler.start={eta}"]
            row(f"{method}, formerly, eta = {eta}", words, [short])
        row(f"{method}, now", [f"method={method}"], [short])
    return rows, curves


def table(rows: dict[str, dict[str, Any]]) -> str:
    lines = ["| what differs | steps | J | worst | H | gradient |", "| --- | ---: | ---: | ---: | ---: | ---: |"]
    for name, row in rows.items():
        j, numbers = np.array(row["J"]), f"{np.mean(row['H']):.3f} | {np.mean(row['slope']):.4f}"
        lines.append(f"| {name} | {row['steps']:,} | {j.mean():.4f} | {j.min():.4f} | {numbers} |")
    return "\n".join(lines) + "\n"


def draw(curves: dict[str, Any], levels: dict[str, float], path: Path) -> None:
    """Mean over seeds and the range, with reference lines."""
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for k, (name, curve) in enumerate(curves.items()):
        step, j = curve["step"], np.array(curve["J"])
        axes.fill_between(step, j.min(axis=1), j.max(axis=1), color=f"C{k}", alpha=0.15, linewidth=0)
        axes.plot(step, j.mean(axis=1), color=f"C{k}", label=name)
    for name, value in levels.items():
        axes.axhline(value, color="0.4", linestyle="--", linewidth=0.8)
        axes.annotate(f"{name} {value:.4f}", (6, value), xytext=(0, 2), textcoords="offset points", fontsize=8, color="0.3")
    axes.set(xscale="log", xlabel="environment step (exact ascent: steps of $\\eta$ = 1)", ylabel="average reward, exact")
    axes.legend(fontsize=8, loc="lower left")
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--short", type=int, default=10_000, help="steps of what is not compiled")
    parser.add_argument("--out", type=Path, default=Path("outputs/collapse"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    ring = Ring()
    rows, curves = studied(ring, arguments.seeds, arguments.short)
    errors = [critic_error(ring, alpha, arguments.seeds) for alpha in (0.3, 0.1, 0.01)]
    levels = {"uniform": ring.score(TabularSoftmax(ring.env))[0], "optimum": optimum(ring.env).low}
    levels["best policy of own state"] = ascend(ring.env, 0, starts=3).value
    draw(curves, levels, arguments.out / "figure.png")
    head = {"date": datetime.date.today().isoformat(), "command": " ".join(["python", *sys.argv])}
    body = {**head, "rows": rows, "curves": curves, "levels": levels, "critic": errors}
    (arguments.out / "results.json").write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "table.md").write_text(table(rows), encoding="utf-8")
    print(table(rows))
    for one in errors:
        sizes = f"Q varies by {one['spread']:.2f}, by an action by {one['action']:.2f}"
        print(f"uniform policy, alpha = {one['alpha']}: the table is off by {one['error']:.2f}; {sizes}")
    print(f"picture: {arguments.out}/figure.png   numbers: {arguments.out}/results.json")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MarlError as error:
        sys.exit(f"collapse: {error}")
