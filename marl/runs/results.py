"""Results of finished runs are learning curves and scores, seeds pooled, grouped by what else differs."""

import json
import os
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from marl.core.archives import weigh
from marl.core.errors import ConfigError
from marl.runs import references
from marl.runs.labels import distinct, joined
from marl.runs.references import References

RESAMPLES = 2000
"""Bootstrap samples behind every interval."""
NO_DIFFERENCE = (
    "seed",
    "replicas",
    "log_every",
    "logger",
    "callback",
    "checkpoint",
    "resume",
    "force",
    "threads",
    "references",
)
"""Keys that do not set runs apart."""


@dataclass(frozen=True)
class Run:
    """This is what one run directory holds. Shapes: steps [L], reward [L, B] (of the steps since the log point before)."""

    path: Path
    config: dict[str, Any]
    summary: dict[str, Any]
    steps: np.ndarray
    reward: np.ndarray


@dataclass(frozen=True)
class Group:
    """These runs differ in nothing but the seed, replica by replica; no noise stream is counted twice.

    differs: how it differs from other groups, key -> "name=value"; label: the same in one line, which no two groups share.
    places: where the runs are. environment: the digest of their environment, or None of a version that noted none.
    Shapes, R replicas: seeds [R], steps [L], reward [R, L], score [R] (last 10 % of training), evaluated [R] or empty,
    segments [R, 20] (the batch means of the evaluation) or [R, 0].
    """

    label: str
    differs: dict[str, str]
    places: list[Path]
    config: dict[str, Any]
    environment: str | None
    seeds: np.ndarray
    steps: np.ndarray
    reward: np.ndarray
    score: np.ndarray
    evaluated: np.ndarray
    segments: np.ndarray


def interquartile_mean(x: np.ndarray) -> np.ndarray:
    """Averages the middle half over the first axis: floor(R / 4) values are left out at each end. [R, ...] -> [...]."""
    cut = len(x) // 4
    return np.asarray(np.sort(x, axis=0)[cut : len(x) - cut].mean(axis=0))


def interval(x: np.ndarray, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Bootstraps the 95 % percentile interval of the interquartile mean over the first axis. [R, ...] -> two of [...]."""
    drawn = np.random.default_rng(seed).integers(len(x), size=(RESAMPLES, len(x)))
    columns = x.reshape(len(x), -1).T
    means = np.stack([interquartile_mean(column[drawn].T) for column in columns])
    low, high = np.quantile(means, (0.025, 0.975), axis=1)
    return low.reshape(x.shape[1:]), high.reshape(x.shape[1:])


def find(places: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """Finds the finished runs in and under `places`, and a line about every run there that cannot be used.

    Links to directories are followed; what is reached twice is there once.
    Errors: `ConfigError` if a place does not exist or no run is found.
    """
    runs: dict[Path, Run] = {}
    left_out: list[str] = []
    seen: set[str] = set()
    for place in places:
        if not place.is_dir():
            raise ConfigError(f"{place} is no directory; give run directories or a directory that holds some")
        for folder in _folders(place, seen, left_out):
            try:
                runs[folder.resolve()] = _read(folder)
            except OSError:
                left_out.append(f"{folder}: not finished")
            except ConfigError as error:
                left_out.append(f"{folder}: {error}")
            except (ValueError, KeyError, TypeError, EOFError, RecursionError, zipfile.BadZipFile):
                left_out.append(f"{folder}: its summary.json or metrics.npz is damaged")
    if not runs:
        raise ConfigError(f"no finished run in {', '.join(map(str, places))}" + "".join(f"; {line}" for line in left_out))
    return list(runs.values()), left_out


def known(places: Iterable[Path]) -> tuple[dict[str, References], list[str]]:
    """Finds what `marl optimum` wrote in and under `places`, by environment, and a line about every damaged file.

    Of several files of one environment, such as the copies that runs keep, the newest counts.
    """
    found: dict[str, References] = {}
    written: dict[str, float] = {}
    left_out: list[str] = []
    seen: set[str] = set()
    for place in places:
        for folder, _, files in _walk(place, seen, left_out):
            if references.FILE in files:
                try:
                    one, at = references.read(Path(folder)), os.path.getmtime(os.path.join(folder, references.FILE))
                except ConfigError as error:
                    left_out.append(str(error))
                else:
                    if at >= written.get(one.environment, at):
                        found[one.environment], written[one.environment] = one, at
    return found, left_out


def grouped(runs: Sequence[Run]) -> list[Group]:
    """Pools runs over seeds and replicas, one group for every configuration, environment and code of parts of one's own."""
    pools: dict[str, list[Run]] = {}
    for run in runs:
        pools.setdefault(json.dumps([_settings(run), _marks(run)], sort_keys=True), []).append(run)
    first = [pool[0] for pool in pools.values()]
    named = distinct([_settings(run) for run in first], [_marks(run) for run in first])
    return [_pooled(differs, pool) for differs, pool in zip(named, pools.values(), strict=True)]


def _settings(run: Run) -> dict[str, Any]:
    return {key: value for key, value in run.config.items() if key not in NO_DIFFERENCE}


def _marks(run: Run) -> dict[str, str]:
    """Gives, by part, digests of what a configuration does not say: what files said, and code of one's own."""
    marks, code = {}, run.summary.get("code")
    if "environment" in run.summary:
        earlier = "" if isinstance(code, dict) else " as an earlier version noted it"
        marks["env.environment"] = f"{run.summary['environment']}{earlier}"
    return marks | {f"{part}.code": str(digest) for part, digest in (code if isinstance(code, dict) else {}).items()}


def _folders(place: Path, seen: set[str], left_out: list[str]) -> Iterator[Path]:
    """Finds the directories of runs."""
    for folder, inside, files in _walk(place, seen, left_out):
        inside.sort()
        if {"summary.json", "metrics.npz"}.issubset(files) or os.path.isfile(os.path.join(folder, ".hydra", "config.yaml")):
            yield Path(folder)


def _walk(place: Path, seen: set[str], left_out: list[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """Walks through the directories in and under a place, links followed, each once."""

    def closed(error: OSError) -> None:
        left_out.append(f"{error.filename}: cannot be read")

    for folder, inside, files in os.walk(place, onerror=closed, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            inside.clear()
            continue
        seen.add(real)
        yield folder, inside, files


def _pooled(differs: dict[str, str], runs: Sequence[Run]) -> Group:
    label, steps = joined(differs), runs[0].steps
    for run in runs[1:]:
        steps = np.intersect1d(steps, run.steps)
    if not len(steps):
        raise ConfigError(f"{label}: {runs[0].path} and others have no log point in common; give runs with one log_every")
    streams: dict[int, tuple[Run, int]] = {}
    for run in sorted(runs, key=lambda run: -run.summary["steps"]):
        for b in range(run.summary["replicas"]):
            streams.setdefault(run.summary["seed"] + b, (run, b))
    chosen = [streams[seed] for seed in sorted(streams)]
    measured = all("eval_average_reward" in run.summary for run, _ in chosen)
    return Group(
        label=label,
        differs=differs,
        places=[run.path for run in runs],
        config=runs[0].config,
        environment=runs[0].summary.get("environment"),
        seeds=np.array(sorted(streams)),
        steps=steps,
        reward=np.stack([run.reward[np.isin(run.steps, steps), b] for run, b in chosen]),
        score=np.array([run.summary["average_reward"][b] for run, b in chosen]),
        evaluated=np.array([run.summary["eval_average_reward"][b] for run, b in chosen] if measured else []),
        segments=np.array([run.summary.get("eval_segments", [[]] * (b + 1))[b] if measured else [] for run, b in chosen]),
    )


def _read(folder: Path) -> Run:
    summary = json.loads((folder / "summary.json").read_bytes())
    if summary["status"] != "finished":
        raise ConfigError(f"{summary['status']}, {summary.get('reason', 'no reason given')}")
    with (folder / "metrics.npz").open("rb") as file:
        weigh(file)
        arrays = np.load(file, allow_pickle=False)
        run = Run(folder, summary["config"], summary, arrays["step"], arrays["train/average_reward"])
    if not run.reward.shape == (len(run.steps), len(summary["average_reward"])) == (len(run.steps), summary["replicas"]):
        raise ConfigError("summary.json and metrics.npz are not of the same run")
    if not _sound(run):
        raise ValueError("a summary of wrong values")
    return run


def _sound(run: Run) -> bool:
    """Says whether the scores of a summary are finite numbers, one for every replica, and the rest is of its type.

    Errors: ValueError, TypeError if they are no arrays of numbers.
    """
    scores = run.summary["average_reward"]
    columns = np.asarray([scores, run.summary.get("eval_average_reward", scores)], dtype=float)
    segments = np.asarray(run.summary.get("eval_segments", [[]] * len(scores)), dtype=float)
    finite = np.isfinite(columns).all() and np.isfinite(segments).all()
    shaped = columns.shape == (2, run.reward.shape[1]) and segments.ndim == 2 and len(segments) == len(scores)
    whole = all(type(run.summary[key]) is int for key in ("steps", "seed"))
    named = isinstance(run.config, dict) and all("_target_" in (run.config.get(part) or ()) for part in ("env", "trainer"))
    return bool(finite) and shaped and whole and named
