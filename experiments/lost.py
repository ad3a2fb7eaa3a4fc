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

import sys
from pathlib import Path

import matplotlib.pyplot as plt
from systems import Found, System, asked, share, studied, write

from marl.core.errors import MarlError
from marl.runs.references import References

METHODS = ("tabular", "additive", "natural", "neural", "ippo", "ippo_neighbors", "pairwise")
SYSTEMS = {  # with hops below which somebody does not see all: who sees all can do the optimum
    "load_balancing": System(["env=load_balancing", "env.graph=ring:4"], (0, 1)),
    "epidemic": System(["env=epidemic", "env.graph=ring:6"], (0, 1, 2)),
    "firefighters": System(["env=firefighters", "env.agents=4"], (0, 1, 2)),
    "scheduling": System(["env=scheduling", "env.graph=ring:4"], (0, 1)),
    "sysadmin": System(["env=sysadmin", "env.graph=line:3"], (0, 1)),
    "traffic": System(["env=traffic", "env.rows=1", "env.cols=2", "env.capacity=1"], (0,)),
    "wireless": System(
        ["env=wireless", "env.incidence=[[0],[0,1],[0,1],[1]]", "env.arrival=0.5", "env.success=0.8"], (0, 1)
    ),
}
COLORS = {"own state": "#0072B2", "1 hop": "#D55E00", "2 hops": "#009E73", "everything": "black"}
"""By what is seen, of Okabe and Ito: the color-blind tell them apart."""
LEAST = -0.5
"""Shares below are cut off."""


def levels(known: References) -> dict[str, float]:
    """The best that agents can do, by what they see, as shares; those who see further can do no worse."""
    found, best = {}, known.uniform
    for hops, seen in enumerate(COLORS):
        local = [values[hops] for values in (known.best_local, known.ascent) if hops in values]
        best = max([best, *local]) if local else known.reference[1]
        found[seen] = known.normalized(best) or 0.0
    return found


def table(results: dict[str, Found]) -> str:
    """Levels and learners by systems, as shares; and what of the level of its sight a learner is short of. In Markdown."""
    found = list(results.values())

    def row(*cells: str) -> str:
        return f"| {' | '.join(cells)} |"

    lines = [row("", "an agent sees", *results), row("---", "---", *["---:"] * len(found))]
    lines.append(row("uniform", "nothing", *[f"0 ({each.references.uniform:.4f})" for each in found]))
    for seen in COLORS:
        ends = [f" ({each.references.reference[1]:.4f})" * (seen == "everything") for each in found]
        cells = [f"{levels(each.references)[seen]:.2f}{end}" for each, end in zip(found, ends, strict=True)]
        lines.append(row("optimum" if seen == "everything" else "best policy", seen, *cells))
    lines.append(row("best rule", "", *["{1:.2f} `{0}`".format(*best_rule(each.references)) for each in found]))
    short = [row("short of the best policy", "that sees", *results), lines[1]]
    for method, seen in {method: score.sees for each in found for method, score in each.methods.items()}.items():
        shares = [(each, *share(each.references, each.methods[method])) for each in found]
        lines.append(row(f"`{method}`", seen, *[f"{middle:.2f} ± {half:.2f}" for _, middle, half in shares]))
        short.append(row(f"`{method}`", seen, *[f"{levels(each.references)[seen] - x:.2f}" for each, x, _ in shares]))
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
        marks = [(seen, COLORS[seen], x) for seen, x in reversed(levels(known).items())] + [("best rule", "0.5", value)]
        for y, (_, color, x) in enumerate(marks):
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
        names = [*(f"best of {seen}" for seen, *_ in marks[1:-1]), "best rule"]
        axes.set_yticks([*range(len(marks)), *range(len(marks) + 1, len(marks) + 1 + len(methods))])
        axes.set_yticklabels(["optimum", *names, *methods], fontsize=8)
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
