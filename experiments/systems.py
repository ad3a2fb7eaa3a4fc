"""Every method on every system, with one setting, beside uniform, the rules that people follow there and the optimum.

    python experiments/systems.py [--steps 100000] [--seeds 5] [--systems epidemic,...] [--methods tabular,...]
                                  [--at-a-time 2] [--out outputs/systems]

Every run is the command `marl train method=METHOD env=SYSTEM steps=STEPS replicas=SEEDS`, which runs again by itself, and
nothing is chosen per system. References are those of `marl optimum env=SYSTEM`: exact where they can be, else simulated.
A score is the policy at the end, evaluated for a fifth as many steps: the mean over seeds with a 95 % interval over seeds
(Student's t). Its share is (score - uniform) / (reference - uniform), where the reference is the optimum if it is known,
else the best rule. Rewards are per agent and step.
`sees` says what an agent knows when it acts: its own state, states within so many hops, or everything.
Writes OUT/figure.png, OUT/table.md, OUT/results.json, OUT/SYSTEM/optimum.json, OUT/SYSTEM/METHOD (run directories; what is
finished is not run again).
"""

import argparse
import concurrent.futures
import datetime
import json
import statistics
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from marl import build
from marl.cli.train import compose
from marl.core.errors import MarlError
from marl.runs.references import FILE, References, read

METHODS = ("independent", "tabular", "additive", "natural", "neural", "graph", "ippo", "ippo_neighbors", "pairwise")
T_QUANTILE = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}
"""Student's t, 97.5 %, by the number of seeds."""


class System(NamedTuple):
    """The overrides that make it, the hops for which the best policy is looked for, and methods that would take hours."""

    overrides: list[str]
    hops: tuple[int, ...] = ()
    too_slow: tuple[str, ...] = ()


SYSTEMS = {
    name: System([f"env={name}"], too_slow=("pairwise",) if name == "traffic" else ())
    for name in ("load_balancing", "epidemic", "firefighters", "scheduling", "sysadmin", "traffic", "wireless")
}


class Score(NamedTuple):
    """A mean and half the width of its 95 % interval, what its policy sees, and steps per second of its run."""

    mean: float
    half_width: float
    sees: str
    steps_per_second: float | None = None


class Found(NamedTuple):
    """What is known of a system, and the scores of methods on it."""

    references: References
    methods: dict[str, Score]


def over_seeds(values: list[float]) -> tuple[float, float]:
    """The mean and half the width of its 95 % interval; no interval for a single value."""
    mean = statistics.fmean(values)
    if len(values) not in T_QUANTILE:
        return mean, float("nan")
    return mean, T_QUANTILE[len(values)] * statistics.stdev(values) / len(values) ** 0.5


def sees(method: str) -> str:
    """What an agent knows when it acts."""
    config = compose([f"method={method}", "env=epidemic"])
    hops = build.policy(config, build.environment(config), build.replicas(config)).hops
    return {None: "everything", 0: "own state"}.get(hops, f"{hops} hop")


def called(*words: str) -> None:
    """Runs a command of the library in a process of its own."""
    done = subprocess.run([sys.executable, "-m", "marl", *words], capture_output=True, encoding="utf-8", errors="replace")
    if done.returncode:
        raise SystemExit(f"marl {' '.join(words)}: {(done.stderr.splitlines() or ['no message'])[-1]}")
    print(f"{words[-1]}: done", file=sys.stderr, flush=True)


def referred(overrides: list[str], hops: tuple[int, ...], directory: Path) -> References:
    """What `marl optimum` finds, or found when it was asked the same."""
    words = ["optimum", *overrides, f"best_local=[{','.join(map(str, hops))}]", f"out={directory}"]
    file = directory / FILE
    if not file.exists() or json.loads(file.read_text(encoding="utf-8"))["command"] != " ".join(["marl", *words]):
        called(*words)
    return read(directory)


def trained(overrides: list[str], method: str, directory: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """Trains all seeds side by side; returns the summary of the run."""
    settings = [f"steps={arguments.steps}", f"replicas={arguments.seeds}", f"eval.steps={max(20, arguments.steps // 5)}"]
    called("train", f"method={method}", *overrides, *settings, "threads=1", f"hydra.run.dir={directory}")
    return json.loads((directory / "summary.json").read_text(encoding="utf-8"))


def learned(overrides: list[str], method: str, seen: str, directory: Path, arguments: argparse.Namespace) -> Score:
    """Trains a method, and takes its score over seeds."""
    summary = trained(overrides, method, directory, arguments)
    return Score(*over_seeds(summary["eval_average_reward"]), seen, summary["env_steps_per_second"])


def studied(systems: dict[str, System], arguments: argparse.Namespace) -> dict[str, Found]:
    """References and learners of every system that is asked for, some at a time."""
    seen = {method: sees(method) for method in arguments.methods}
    with concurrent.futures.ThreadPoolExecutor(arguments.at_a_time) as pool:
        known, scores = {}, {}
        for s in arguments.systems:
            overrides, hops, too_slow = systems[s]
            known[s] = pool.submit(referred, overrides, hops, arguments.out / s)
            for m in arguments.methods:
                if m not in too_slow:
                    scores[s, m] = pool.submit(learned, overrides, m, seen[m], arguments.out / s / m, arguments)
        found = {s: {m: scores[s, m].result() for m in arguments.methods if (s, m) in scores} for s in known}
        return {s: Found(known[s].result(), found[s]) for s in known}


def table(results: dict[str, Found]) -> str:
    """Scores, methods by systems, and the same as shares; then all rules of every system, best first. In Markdown."""
    found = list(results.values())
    head = [f"| policy | an agent sees | {' | '.join(results)} |", "| --- | --- |" + " ---: |" * len(found)]
    ends = [["≤ " * (name == "bound") + f"{x:.4f}" for name, x in known.lines.items()] for known, _ in found]
    names = ("uniform | nothing", "best rule | see below", "optimum (≤: bound) | everything")
    rows = [f"| {name} | {' | '.join(row)} |" for name, row in zip(names, zip(*ends, strict=True), strict=True)]
    shares = [f"| 1 is | | {' | '.join(known.reference[0] for known, _ in found)} |"]
    for method, seen in {m: score.sees for _, methods in found for m, score in methods.items()}.items():
        scores = [(known, methods.get(method)) for known, methods in found]
        cells = ["" if score is None else f"{score.mean:.4f} ± {score.half_width:.4f}" for _, score in scores]
        rows.append(f"| `method={method}` | {seen} | {' | '.join(cells)} |")
        cells = ["" if score is None else "{:.2f} ± {:.2f}".format(*share(known, score)) for known, score in scores]
        shares.append(f"| `method={method}` | {seen} | {' | '.join(cells)} |")
    rules = ["| system | rule | average reward | |", "| --- | --- | ---: | --- |"]
    for system, (known, _) in results.items():
        for name in sorted(known.rules, key=lambda name: -known.rules[name]):
            rules.append(f"| {system} | `{name}` | {known.rules[name]:.4f} | {known.how[f'rules.{name}']} |")
    return "\n".join([*head, *rows, "", *head, *shares, "", *rules]) + "\n"


def share(known: References, score: Score) -> tuple[float, float]:
    """A score and half the width of its interval, as shares of the way from uniform to the reference."""
    way = known.reference[1] - known.uniform
    return (score.mean - known.uniform) / way, score.half_width / way


def draw_figure(results: dict[str, Found], path: Path) -> None:
    """A panel per system: methods as points with intervals, references as lines; above, the share of the way."""
    columns = min(4, len(results))
    rows = -(-len(results) // columns)
    figure, panels = plt.subplots(rows, columns, figsize=(3.6 * columns, 3.4 * rows), layout="constrained", squeeze=False)
    for axes in panels.flat[len(results) :]:
        axes.axis("off")
    for axes, (system, (known, methods)) in zip(panels.flat, results.items(), strict=False):
        for k, (name, score) in enumerate(reversed(methods.items())):
            color = "tab:blue" if score.sees == "own state" else "tab:orange"
            axes.errorbar(score.mean, k, xerr=score.half_width, fmt="o", color=color, markersize=4, capsize=2)
            axes.text(-0.02, k, name, transform=axes.get_yaxis_transform(), ha="right", va="center", fontsize=7)
        for value, style in zip(known.lines.values(), (":", "--", "-"), strict=False):
            axes.axvline(value, color="0.3", linestyle=style, linewidth=1)
        (name, end), start = known.reference, known.uniform
        ways = (lambda x, a=start, b=end: (x - a) / (b - a), lambda x, a=start, b=end: a + (b - a) * x)
        above = axes.secondary_xaxis("top", functions=ways)
        above.set_xlabel(f"share, 1 = {name}", fontsize=7)
        axes.set(yticks=[], ylim=(-0.6, len(methods) - 0.4))
        axes.set_title(system, fontsize=8)
        for scale in (axes, above):
            scale.tick_params(labelsize=7)
            scale.locator_params(axis="x", nbins=5)
    handles = [
        plt.Line2D([], [], color=color, marker="o", linestyle="", label=text)
        for color, text in (("tab:blue", "sees its own state"), ("tab:orange", "sees its neighbors' states too"))
    ] + [
        plt.Line2D([], [], color="0.3", linestyle=style, linewidth=1, label=text)
        for style, text in ((":", "uniform"), ("--", "best rule"), ("-", "optimum, or a bound"))
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=5, fontsize=8, frameon=False)
    figure.suptitle("average reward per agent and step, evaluated", fontsize=9)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def write(results: dict[str, Found], text: str, arguments: argparse.Namespace) -> None:
    """All numbers, and the tables, which are printed too."""
    systems = {}
    for system, (known, methods) in results.items():
        scores = {m: {**score._asdict(), "share": known.normalized(score.mean)} for m, score in methods.items()}
        systems[system] = {"reference": known.reference, "references": vars(known), "methods": scores}
    head = {"date": datetime.date.today().isoformat(), "command": " ".join(["python", *sys.argv])}
    head |= {"steps": arguments.steps, "seeds": arguments.seeds}
    (arguments.out / "results.json").write_text(json.dumps({**head, "systems": systems}, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "table.md").write_text(text, encoding="utf-8")
    print(f"{text}\npicture: {arguments.out}/figure.png   numbers: {arguments.out}/results.json")


def asked(about: str, systems: Iterable[str], methods: Iterable[str], out: str, *more: str) -> argparse.Namespace:
    """What the command line says. more: directories that may be named as well."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seeds", type=int, default=5)
    for what, known in (("systems", systems), ("methods", methods)):
        parser.add_argument(f"--{what}", type=lambda text: text.split(","), default=list(known))
    parser.add_argument("--at-a-time", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(out))
    for directory in more:
        parser.add_argument(directory, type=Path)
    arguments = parser.parse_args()
    for what, known in (("systems", systems), ("methods", methods)):
        if unknown := [name for name in getattr(arguments, what) if name not in known]:
            parser.error(f"{unknown[0]!r} is none of the {what}, which are {', '.join(known)}")
    return arguments


def main() -> int:
    arguments = asked(__doc__, SYSTEMS, METHODS, "outputs/systems")
    results = studied(SYSTEMS, arguments)
    draw_figure(results, arguments.out / "figure.png")
    write(results, table(results), arguments)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MarlError as error:
        sys.exit(f"systems: {error}")
