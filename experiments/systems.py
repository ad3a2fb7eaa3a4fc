"""Every method on every system, with one setting, beside uniform and the rules that people follow there.

    python experiments/systems.py [--steps 100000] [--seeds 5] [--systems epidemic,...] [--methods tabular,...]
                                  [--at-a-time 2] [--out outputs/systems]

Every run is the command `marl train method=METHOD env=... steps=STEPS replicas=SEEDS`, which runs again by itself. Nothing
is chosen per system but the number that a rule of `CHOICES` has: the best in a rollout of its own, as people tune them.
A score is the policy at the end, evaluated for a fifth as many steps: the mean over seeds with a 95 % interval over seeds
(Student's t); references are evaluated alike. Rewards are per agent and step.
`sees` says what an agent knows when it acts: its own state, states within so many hops, or everything.
Writes OUT/figure.png, OUT/table.md, OUT/results.json, OUT/SYSTEM/METHOD (run directories; finished ones are not run again).
"""

import argparse
import concurrent.futures
import datetime
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from marl import build
from marl.cli.train import compose
from marl.core.environment import Environment
from marl.core.errors import MarlError
from marl.core.policy import Policy
from marl.trainers.evaluation import evaluate

METHODS = ("independent", "tabular", "additive", "natural", "neural", "graph", "ippo", "ippo_neighbors", "pairwise")
T_QUANTILE = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Student's t, 97.5 %, by the number of seeds."""


class System(NamedTuple):
    """The overrides that make it, the policies of its rules, and the methods that would take hours on it."""

    overrides: list[str]
    rules: list[str]
    too_slow: tuple[str, ...] = ()


SYSTEMS = {
    "load_balancing": System(["env=load_balancing"], ["keep", "jsq", "overflow_only", "two_choices"]),
    "epidemic": System(
        ["env=epidemic"],
        ["never_shield", "always_shield", "shield_if_neighbor_infected", "shield_by_degree", "shield_by_centrality"],
    ),
    "firefighters": System(["env=firefighters"], ["fight_higher", "fight_lower", "fight_alternately"]),
    "scheduling": System(
        ["env=scheduling"],
        ["slotted_aloha", "queue_based_access", "local_longest_queue_first", "longest_queue_first", "max_weight"],
    ),
    "sysadmin": System(["env=sysadmin"], ["reboot_if_dead", "reboot_if_not_good", "reboot_by_turns"]),
    "traffic": System(["env=traffic"], ["fixed_time", "longest_queue", "max_pressure"], too_slow=("pairwise",)),
    "wireless": System(["env=wireless"], ["aloha", "dedicated"]),
}


class Choice(NamedTuple):
    """The number of a rule, the values among which the best is taken, and what the environment needs for them."""

    option: str
    values: list[float]
    overrides: list[str]


CHOICES = {
    "aloha": Choice("policy.send_probability", [k / 20 for k in range(1, 21)], []),
    "slotted_aloha": Choice("policy.send_probability", [k / 20 for k in range(1, 21)], []),
    "fixed_time": Choice("policy.hold", list(range(2, 13)), ["env.elapsed=12"]),
}


class Score(NamedTuple):
    """A mean and half the width of its 95 % interval, what its policy sees, and steps per second of its run."""

    mean: float
    half_width: float
    sees: str
    steps_per_second: float | None = None


def sees(policy: Policy) -> str:
    """What an agent knows when it acts."""
    return {None: "everything", 0: "own state"}.get(policy.hops, f"{policy.hops} hop")


def over_seeds(values: list[float]) -> tuple[float, float]:
    """The mean and half the width of its 95 % interval; no interval for a single value."""
    mean = statistics.fmean(values)
    if len(values) not in T_QUANTILE:
        return mean, float("nan")
    return mean, T_QUANTILE[len(values)] * statistics.stdev(values) / len(values) ** 0.5


def made(overrides: list[str]) -> tuple[Environment, Policy]:
    """The environment and the policy, untrained, that a command with these overrides has."""
    config = compose(overrides)
    env = build.environment(config)
    return env, build.policy(config, env, build.replicas(config))


def reference(system: str, policy: str, arguments: argparse.Namespace) -> tuple[str, Score]:
    """Evaluates a policy in which nothing is learned, and names it with what was chosen of it, on other noise."""
    steps = max(20, arguments.steps // 5)
    overrides, name = [*SYSTEMS[system].overrides, f"policy={policy}"], policy
    if policy in CHOICES:
        option, values, needed = CHOICES[policy]
        overrides += needed
        env, rules = made([*overrides, f"{option}={values}", f"replicas={len(values)}"])
        best = int(evaluate(env, rules, steps=steps, seed=1000).average_reward.argmax())
        overrides.append(f"{option}={values[best]}")
        name += f", {option.partition('.')[2]}={values[best]}"
    env, rule = made([*overrides, f"replicas={arguments.seeds}"])
    found = evaluate(env, rule, steps=steps)
    return name, Score(*over_seeds(found.average_reward.tolist()), sees(rule))


def learned(system: str, method: str, seen: str, arguments: argparse.Namespace) -> Score:
    """Trains all seeds side by side, in a process of its own."""
    directory = arguments.out / system / method
    overrides = [f"method={method}", *SYSTEMS[system].overrides, f"steps={arguments.steps}", f"replicas={arguments.seeds}"]
    command = [
        sys.executable,
        "-m",
        "marl",
        "train",
        *overrides,
        f"eval.steps={max(20, arguments.steps // 5)}",
        "threads=1",
    ]
    done = subprocess.run([*command, f"hydra.run.dir={directory}"], capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        raise SystemExit(f"systems: {system}, {method}: {(done.stderr.splitlines() or ['no message'])[-1]}")
    summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    print(f"{system}, {method}: done", file=sys.stderr, flush=True)
    return Score(*over_seeds(summary["eval_average_reward"]), seen, summary["env_steps_per_second"])


def table(results: dict[str, dict[str, dict[str, Score]]]) -> str:
    """Methods by systems in Markdown, below uniform and the best rule; then all rules of every system, best first."""
    systems = list(results)
    lines = [f"| policy | an agent sees | {' | '.join(systems)} |", "| --- | --- |" + " ---: |" * len(systems)]
    uniform = [results[s]["references"]["uniform"] for s in systems]
    best = [max(rules_of(results[s]).values(), key=lambda score: score.mean) for s in systems]
    rows: list[tuple[str, str, list[Score | None]]] = [("uniform", "nothing", uniform), ("best rule", "see below", best)]
    learned = {method: score.sees for s in systems for method, score in results[s]["methods"].items()}
    for method, seen in learned.items():
        rows.append((f"`method={method}`", seen, [results[s]["methods"].get(method) for s in systems]))
    lines += [f"| {name} | {seen} | {' | '.join(map(cell, scores))} |" for name, seen, scores in rows]
    lines += ["", "| system | rule | average reward | an agent sees |", "| --- | --- | ---: | --- |"]
    for system in systems:
        for name, score in sorted(rules_of(results[system]).items(), key=lambda row: -row[1].mean):
            lines.append(f"| {system} | `{name.replace(', ', ' policy.')}` | {cell(score)} | {score.sees} |")
    return "\n".join(lines) + "\n"


def rules_of(found: dict[str, dict[str, Score]]) -> dict[str, Score]:
    """All references of a system but uniform."""
    return {name: score for name, score in found["references"].items() if name != "uniform"}


def cell(score: Score | None) -> str:
    """A mean and its interval, as a cell of a table; empty if there is none."""
    return "" if score is None else f"{score.mean:.4f} ± {score.half_width:.4f}"


def draw_figure(results: dict[str, dict[str, dict[str, Score]]], path: Path) -> None:
    """A panel per system: methods as points with intervals; uniform and the best rule as lines."""
    columns = min(4, len(results))
    rows = -(-len(results) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(3.6 * columns, 3.2 * rows), layout="constrained", squeeze=False)
    for axes in panels.flat[len(results) :]:
        axes.axis("off")
    for axes, (system, kinds) in zip(panels.flat, results.items(), strict=False):
        methods, references = kinds["methods"], kinds["references"]
        for k, (name, score) in enumerate(reversed(methods.items())):
            color = "tab:blue" if score.sees == "own state" else "tab:orange"
            axes.errorbar(score.mean, k, xerr=score.half_width, fmt="o", color=color, markersize=4, capsize=2)
            axes.text(-0.02, k, name, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=7)
        best = max(rules_of(kinds), key=lambda name: references[name].mean)
        for name, style in (("uniform", ":"), (best, "--")):
            axes.axvline(references[name].mean, color="0.3", linestyle=style, linewidth=1)
        axes.set(yticks=[], ylim=(-0.6, len(methods) - 0.4))
        axes.set_title(f"{system}\ndotted: uniform, dashed: {best}", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.locator_params(axis="x", nbins=5)
    handles = [
        plt.Line2D([], [], color=color, marker="o", linestyle="", label=text)
        for color, text in (("tab:blue", "sees its own state"), ("tab:orange", "sees its neighbors' states too"))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize=8, frameon=False)
    figure.suptitle("average reward per agent and step, evaluated", fontsize=9)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--systems", default=",".join(SYSTEMS))
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--at-a-time", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("outputs/systems"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    systems, methods = arguments.systems.split(","), arguments.methods.split(",")
    for what, named, known in (("system", systems, SYSTEMS), ("method", methods, METHODS)):
        if unknown := [name for name in named if name not in known]:
            parser.error(f"there is no {what} {unknown[0]!r}; there are {', '.join(known)}")
    seen = {m: sees(made([f"method={m}", *SYSTEMS[systems[0]].overrides])[1]) for m in methods}
    with concurrent.futures.ThreadPoolExecutor(arguments.at_a_time) as pool:
        jobs = {
            (s, m): pool.submit(learned, s, m, seen[m], arguments)
            for s in systems
            for m in methods
            if m not in SYSTEMS[s].too_slow
        }
        results = {
            s: {
                "references": dict(reference(s, p, arguments) for p in ("uniform", *SYSTEMS[s].rules)),
                "methods": {m: jobs[s, m].result() for m in methods if (s, m) in jobs},
            }
            for s in systems
        }
    written = {
        s: {kind: {name: score._asdict() for name, score in found.items()} for kind, found in kinds.items()}
        for s, kinds in results.items()
    }
    head = {"date": datetime.date.today().isoformat(), "command": " ".join(["python", *sys.argv])}
    (arguments.out / "results.json").write_text(json.dumps({**head, "systems": written}, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "table.md").write_text(table(results), encoding="utf-8")
    draw_figure(results, arguments.out / "figure.png")
    print(table(results))
    print(f"picture: {arguments.out}/figure.png   numbers: {arguments.out}/results.json")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MarlError as error:
        sys.exit(f"systems: {error}")
