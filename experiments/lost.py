"""What is lost where: learners between what can be had by chance, by rules, by what agents see, and at most.

    python experiments/lost.py [--steps 100000] [--seeds 5] [--systems epidemic,...] [--methods tabular,...]
                               [--at-a-time 2] [--out outputs/lost]

On networks so small that everything but learning is exact. Levels are those of `marl optimum`: the best policies of agents
that see their own state, the states within 1 hop, within 2 (at least: the best of rules and ascents), the best rule that
people follow, and the optimum of one who sees all and moves all. Learners are runs of `marl train`, as in systems.py.
A score or level is shown as (it - uniform) / (optimum - uniform). What a method loses is so in two parts: 1 - the level of
what it sees is lost to information, and that level - its score to credit or the optimizer.
Writes OUT/figure.png, OUT/table.md, OUT/results.json, OUT/SYSTEM/optimum.json, OUT/SYSTEM/METHOD (run directories; what is
finished is not run again).
"""

import math
import sys
from collections.abc import Iterable
from pathlib import Path

import matplotlib.pyplot as plt
from systems import Found, System, asked, share, studied, write

from marl.core.errors import MarlError
from marl.runs.references import References

METHODS = ("tabular", "additive", "natural", "neural", "ippo", "ippo_neighbors", "pairwise")
SYSTEMS = {
    "load_balancing": System(["env=load_balancing", "env.graph=ring:4"], (0, 1)),
    "epidemic": System(["env=epidemic", "env.graph=ring:6"], (0, 1, 2)),
    "firefighters": System(["env=firefighters", "env.agents=4"], (0, 1, 2)),
    "scheduling": System(["env=scheduling", "env.graph=ring:4"], (0, 1)),
    "sysadmin": System(["env=sysadmin", "env.graph=ring:3"], (0,)),
    "traffic": System(["env=traffic", "env.rows=1", "env.cols=2", "env.capacity=1"]),
    "wireless": System(
        ["env=wireless", "env.incidence=[[0],[0,1],[0,1],[1]]", "env.arrival=0.5", "env.success=0.8"], (0, 1)
    ),
}
ALL = {"load_balancing": 2, "epidemic": 3, "firefighters": 4, "scheduling": 2, "sysadmin": 1, "traffic": 1, "wireless": 2}
"""Hops within which every agent sees every other: it can do the optimum. With fewer, traffic's ascents would take hours."""
COLORS = {"own state": "#0072B2", "1 hop": "#D55E00", "2 hops": "#009E73", "everything": "black"}
"""By what is seen, of Okabe and Ito: the color-blind tell them apart."""
LEAST = -0.5
"""Shares below are cut off."""


def levels(system: str, known: References) -> dict[str, float]:
    """The best that agents can do, by what they see, as shares, where it is known; who sees further can do no worse."""
    found, best = {}, known.uniform
    for hops, seen in enumerate(list(COLORS)[:-1]):
        local = [values[hops] for values in (known.best_local, known.ascent) if hops in values]
        if hops >= ALL[system]:
            local = [known.reference[1]]
        if local:
            best = max(best, *local)
            found[seen] = known.normalized(best) or 0.0
    return {**found, "everything": 1.0}


def table(results: dict[str, Found]) -> str:
    """Levels and learners by systems, as shares; and how much a learner is short of the best that sees as much."""
    found = {system: (levels(system, known), known, methods) for system, (known, methods) in results.items()}

    def row(name: str, seen: str, cells: Iterable[str]) -> str:
        return f"| {name} | {seen} | {' | '.join(cells)} |"

    lines = [row("", "an agent sees", results), row("---", "---", ["---:"] * len(results))]
    short = [row("short of the best policy", "that sees", results), lines[1]]
    lines.append(row("uniform", "nothing", [f"0 ({known.uniform:.4f})" for _, known, _ in found.values()]))
    for seen in list(COLORS)[:-1]:
        best = [f"{reached[seen]:.2f}" if seen in reached else "" for reached, _, _ in found.values()]
        lines.append(row("best policy", seen, best))
    lines.append(row("optimum", "everything", [f"1 ({known.reference[1]:.4f})" for _, known, _ in found.values()]))
    lines.append(row("best rule", "", ["{1:.2f} `{0}`".format(*best_rule(known)) for _, known, _ in found.values()]))
    for method, seen in {m: score.sees for _, methods in results.values() for m, score in methods.items()}.items():
        shares = [(reached.get(seen), *share(known, methods[method])) for reached, known, methods in found.values()]
        lines.append(row(f"`{method}`", seen, [f"{x:.2f} ± {half:.2f}" for _, x, half in shares]))
        short.append(row(f"`{method}`", seen, ["" if best is None else f"{best - x:.2f}" for best, x, _ in shares]))
    return "\n".join([*lines, "", *short]) + "\n"


def best_rule(known: References) -> tuple[str, float]:
    """Its name and share."""
    name = max(known.rules, key=lambda rule: known.rules[rule])
    return name, known.normalized(known.rules[name]) or 0.0


def draw_figure(results: dict[str, Found], path: Path) -> None:
    """A panel per system: levels on top, with lines down to the learners, which are points with intervals."""
    columns = min(4, len(results) + 1)
    rows = -(-(len(results) + 1) // columns)
    size = {"figsize": (3.4 * columns, 3.7 * rows), "layout": "constrained", "squeeze": False}
    figure, panels = plt.subplots(rows, columns, sharey=True, **size)
    for axes, (system, (known, methods)) in zip(panels.flat, results.items(), strict=False):
        name, value = best_rule(known)
        reached = levels(system, known)
        marks = [(color, reached.get(seen, math.nan)) for seen, color in reversed(COLORS.items())]
        marks.append(("0.5", value))
        for y, (color, x) in enumerate(marks):
            axes.axvline(x, color=color, linewidth=1, linestyle=":" if color == "0.5" else "-", zorder=1)
            axes.plot(x, y, "s" if color == "0.5" else "D", color=color, markersize=6, zorder=3)
        for y, score in enumerate(methods.values(), start=len(marks) + 1):
            x, half = share(known, score)
            color = COLORS[score.sees]
            if x < LEAST:
                axes.plot(LEAST, y, "<", color=color, markersize=7)
                axes.text(LEAST + 0.07, y, f"{x:.1f}", color=color, fontsize=8, va="center")
            else:
                axes.errorbar(x, y, xerr=half, fmt="o", color=color, markersize=5, capsize=3, zorder=4)
        axes.axvline(0.0, color="0.8", linewidth=3, zorder=0)
        axes.axhline(len(marks), color="0.8", linewidth=0.8)
        names = ["optimum", *(f"best of {seen}" for seen in list(COLORS)[-2::-1]), "best rule"]
        axes.set_yticks([*range(len(marks)), *range(len(marks) + 1, len(marks) + 1 + len(methods))])
        axes.set_yticklabels([*names, *methods], fontsize=8)
        axes.set(xlim=(LEAST - 0.05, 1.1), ylim=(len(marks) + len(methods) + 0.6, -0.6))
        ends = f"0: uniform {known.uniform:.4f}, 1: optimum {known.reference[1]:.4f}"
        axes.set_title(f"{system}\n{ends}\nbest rule: {name}", fontsize=8)
        axes.tick_params(axis="x", labelsize=8)
    for axes in panels.flat[len(results) :]:
        axes.axis("off")
    texts = {seen: f"sees {seen}" for seen in COLORS} | {"own state": "sees its own state"}
    line = plt.Line2D
    handles = [line([], [], color=color, linewidth=4, label=texts[seen]) for seen, color in COLORS.items()]
    for marker, color, text in (
        ("D", "black", "the best that can be done so"),
        ("s", "0.5", "the best rule that people follow"),
        ("o", "black", "a learner: mean and 95 % interval over seeds"),
        ("<", "black", "a learner below the axis, at this share"),
    ):
        handles.append(line([], [], color=color, marker=marker, linestyle="", label=text))
    panels.flat[len(results)].legend(handles=handles, loc="center", fontsize=9, frameon=False)
    figure.supxlabel("(average reward - uniform) / (optimum - uniform)", fontsize=9)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> int:
    arguments = asked(__doc__, SYSTEMS, METHODS, "outputs/lost")
    results = studied(SYSTEMS, arguments)
    draw_figure(results, arguments.out / "figure.png")
    write(results, table(results), arguments)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MarlError as error:
        sys.exit(f"lost: {error}")
