"""`marl plot` makes learning curves, a table and numbers of runs and sweeps."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from marl.cli import words
from marl.core.errors import ConfigError
from marl.core.files import write_atomically
from marl.runs.references import References
from marl.runs.results import RESAMPLES, Group, find, grouped, interquartile_mean, interval, known

DIGITS = 4


def main(arguments: list[str]) -> int:
    """Writes curves.png, results.md, results.json and marl_eval.json, and prints the table."""
    places, given = words.read("plot", arguments, {"out": (Path, Path("plot"))})
    if not places:
        raise ConfigError("marl plot needs directories of runs or sweeps; marl plot --help says more")
    runs, left_out = find([Path(place) for place in places])
    references, damaged = known(map(Path, places))
    left_out += [line for line in damaged if line not in left_out]
    groups = sorted(grouped(runs), key=lambda group: -interquartile_mean(group.score))
    for line in left_out:
        print(f"left out: {line}")
    table = _table(groups, references)
    print(table, end="")
    _write(given["out"], groups, references, left_out, table)
    return 0


def _write(out: Path, groups: list[Group], references: dict[str, References], left_out: list[str], table: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    curves = [(interquartile_mean(group.reward), *interval(group.reward)) for group in groups]
    numbers = {"interval": f"95 %, percentile bootstrap of the interquartile mean, {RESAMPLES} resamples"}
    texts = {
        "results.md": table,
        "results.json": json.dumps(
            {
                **numbers,
                "left_out": left_out,
                "groups": [_numbers(*pair, references) for pair in zip(groups, curves, strict=True)],
            },
            indent=1,
        ),
        "marl_eval.json": json.dumps(_marl_eval(groups), indent=1),
    }
    for name, text in texts.items():
        write_atomically(out / name, lambda file, text=text: file.write(text.encode()))  # type: ignore[misc]
    from marl.plotting import NoPictureError, learning_curves  # with torch, which nothing before has needed

    same = len({group.environment for group in groups}) == 1
    lines = references[str(groups[0].environment)].lines if same and groups[0].environment in references else {}
    named = [(group.label, group.steps, *curve) for group, curve in zip(groups, curves, strict=True)]
    try:
        picture = learning_curves(named, lines)
    except NoPictureError as error:
        print(f"{error}; numbers are in {out}")
        return
    write_atomically(out / "curves.png", lambda file: file.write(picture))
    print(f"{out / 'curves.png'}")


def _table(groups: list[Group], references: dict[str, References]) -> str:
    """Lays out interquartile mean and 95 % interval of scores and, where there are some, evaluations, in Markdown.

    With references, also the share of the way from uniform to the reference, of the evaluation where there is one.
    """
    measured = any(len(group.evaluated) for group in groups)
    shared = any(group.environment in references for group in groups)
    heads = ["runs", "replicas", "average reward", "95 %"] + ["evaluated", "95 %"] * measured + ["share", "of"] * shared
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    for group in groups:
        cells = [group.label.replace("|", "\\|"), str(len(group.seeds)), *_cells(group.score)]
        cells += _cells(group.evaluated) if measured else []
        lines.append("| " + " | ".join(cells + (_share_cells(group, references) if shared else [])) + " |")
    if shared:
        lines += [
            "",
            "share: (score - uniform) / (reference - uniform), the score evaluated where it was; of: the reference",
        ]
    return "\n".join(lines) + "\n"


def _share_cells(group: Group, references: dict[str, References]) -> list[str]:
    found = _share(group, references)
    if found is None:
        return ["", ""]
    share = "" if found["share"] is None else f"{found['share']:.3f}"
    return [share, f"{found['reference']} {found['value']:.{DIGITS}f}"]


def _share(group: Group, references: dict[str, References]) -> dict[str, Any] | None:
    """Gives the score of a group beside the references of its environment, or None if there are none."""
    known = references.get(str(group.environment))
    if known is None:
        return None
    score = float(interquartile_mean(group.evaluated if len(group.evaluated) else group.score))
    name, value = known.reference
    return {"uniform": known.uniform, "reference": name, "value": value, "share": known.normalized(score)}


def _cells(x: np.ndarray) -> list[str]:
    if not len(x):
        return ["", ""]
    low, high = interval(x)
    return [f"{interquartile_mean(x):.{DIGITS}f}", f"{low:.{DIGITS}f} to {high:.{DIGITS}f}"]


def _numbers(
    group: Group, curve: tuple[np.ndarray, np.ndarray, np.ndarray], references: dict[str, References]
) -> dict[str, Any]:
    middle, low, high = curve
    return {
        "label": group.label,
        "runs": [str(place) for place in group.places],
        "seeds": group.seeds.tolist(),
        "average_reward": _statistics(group.score),
        "eval_average_reward": _statistics(group.evaluated),
        "references": _share(group, references),
        "curve": {"step": group.steps.tolist(), "iqm": middle.tolist(), "low": low.tolist(), "high": high.tolist()},
    }


def _statistics(x: np.ndarray) -> dict[str, Any] | None:
    if not len(x):
        return None
    low, high = interval(x)
    middle = {"iqm": float(interquartile_mean(x)), "low": float(low), "high": float(high)}
    return {"values": x.tolist(), "mean": float(x.mean()), **middle}


def _marl_eval(groups: list[Group]) -> dict[str, Any]:
    """Lays the numbers out as the marl-eval tools read them: environment -> task -> algorithm -> run -> step -> metric.

    What differs between environments is in the name of the task, so that an algorithm has one name in all of them.
    An episode is a segment of fixed length: the steps between two log points while training, one of 20 batches of the
    evaluation at the end.
    """
    layout: dict[str, Any] = {}
    for group in groups:
        env, trainer = (str(group.config[part]["_target_"]).rpartition(".")[2] for part in ("env", "trainer"))
        env = group.differs.get("env._target_", env).removeprefix("env=")
        of_env = [shown for key, shown in group.differs.items() if key.startswith("env.") and not key.endswith("_target_")]
        algorithm = ", ".join(shown for key, shown in group.differs.items() if not key.startswith("env.")) or trainer
        task = ", ".join(["average_reward", *of_env])
        runs = layout.setdefault(env, {}).setdefault(task, {}).setdefault(algorithm, {})
        for seed, rewards, segments, score in zip(group.seeds, group.reward, group.segments, group.score, strict=True):
            steps = {
                f"step_{k}": {"step_count": int(step), "average_reward": [float(reward)]}
                for k, (step, reward) in enumerate(zip(group.steps, rewards, strict=True))
            }
            absolute = segments.tolist() if len(segments) else [float(score)]
            runs[f"seed_{seed}"] = {**steps, "absolute_metrics": {"average_reward": absolute}}
    return layout
