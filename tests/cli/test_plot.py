"""Pooling, interquartile means and their intervals against plain loops; and the files of `marl plot`."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from marl.core.errors import ConfigError
from marl.runs.results import find, grouped, interquartile_mean, interval
from tests.cli.command import Marl, assert_refused, command_in, metrics_of, summary_of

RUNS = ("env.rows=2", "env.cols=3", "steps=400", "log_every=20", "eval.steps=40", "replicas=3", "logger=none")


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two kappas; seeds 0, 1, 2 and 2, 3, 4: stream 2 is there twice."""
    directory = tmp_path_factory.mktemp("results")
    with command_in(directory) as marl:
        assert marl("train", "-m", "critic.kappa=0,1", "seed=0,2", *RUNS).code == 0
    return directory / "outputs"


def plain_interquartile_mean(values: list[float]) -> float:
    """Without the lowest and the highest quarter, rounded down."""
    kept = sorted(values)
    for _ in range(len(values) // 4):
        kept = kept[1:-1]
    return sum(kept) / len(kept)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 11])
def test_interquartile_mean(count: int) -> None:
    x = np.random.default_rng(count).normal(size=(count, 3, 2))
    expected = [[plain_interquartile_mean(x[:, k, m].tolist()) for m in range(2)] for k in range(3)]
    np.testing.assert_allclose(interquartile_mean(x), expected, rtol=1e-13)


def test_intervals_hold_what_they_promise() -> None:
    """300 samples of 20 normals: 95 % intervals of this size cover 92 %; fewer than 86 % has probability below 1e-3."""
    x = np.random.default_rng(0).normal(size=(20, 300))
    low, high = interval(x)
    assert (low < high).all()
    covered = float(((low < 0) & (high > 0)).mean())
    assert 0.86 < covered < 0.98
    assert interval(np.full(5, 0.25)) == (0.25, 0.25)


def test_seeds_and_replicas_are_pooled_and_no_stream_counts_twice(sweep: Path) -> None:
    runs, left_out = find([sweep])
    groups = {group.label: group for group in grouped(runs)}
    assert left_out == []
    assert list(groups) == ["critic.kappa=0", "critic.kappa=1"]
    for kappa in (0, 1):
        group = groups[f"critic.kappa={kappa}"]
        assert group.seeds.tolist() == [0, 1, 2, 3, 4]
        places = {path.name: path for path in sweep.glob(f"critic.kappa={kappa},*/seed=*")}
        first, second = places["seed=0"], places["seed=2"]
        reward = np.concatenate([metrics_of(run)["train/average_reward"] for run in (first, second)], axis=1)
        np.testing.assert_array_equal(group.reward, reward.T[[0, 1, 2, 4, 5]])
        scores = [*summary_of(first)["average_reward"], *summary_of(second)["average_reward"][1:]]
        assert group.score.tolist() == scores
        assert group.evaluated.tolist() == [
            *summary_of(first)["eval_average_reward"],
            *summary_of(second)["eval_average_reward"][1:],
        ]
        np.testing.assert_allclose(group.segments.mean(axis=1), group.evaluated, rtol=1e-12)


def test_plot_writes_what_it_prints(sweep: Path, tmp_path: Path) -> None:
    with command_in(tmp_path) as marl:
        outcome = marl("plot", str(sweep), "out=there")
    assert outcome.code == 0, outcome
    assert outcome.out == (tmp_path / "there/results.md").read_text() + "there/curves.png\n"
    assert (tmp_path / "there/curves.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "there/curves.png").read_bytes()) > 10_000
    numbers = json.loads((tmp_path / "there/results.json").read_text())
    groups = {group.label: group for group in grouped(find([sweep])[0])}
    assert {group["label"] for group in numbers["groups"]} == set(groups)
    for row in numbers["groups"]:
        group = groups[row["label"]]
        assert row["average_reward"]["iqm"] == pytest.approx(plain_interquartile_mean(group.score.tolist()))
        assert f"| {row['average_reward']['iqm']:.4f} |" in outcome.out
        assert row["curve"]["step"] == list(range(20, 401, 20))
        middle = [plain_interquartile_mean(column.tolist()) for column in group.reward.T]
        np.testing.assert_allclose(row["curve"]["iqm"], middle)
        assert (np.array(row["curve"]["low"]) <= middle).all()
        assert (np.array(row["curve"]["high"]) >= middle).all()
    best = max(groups.values(), key=lambda group: plain_interquartile_mean(group.score.tolist()))
    assert outcome.out.splitlines()[2].startswith(f"| {best.label} | 5 |")


def test_the_layout_of_marl_eval(sweep: Path, tmp_path: Path) -> None:
    with command_in(tmp_path) as marl:
        assert marl("plot", str(sweep)).code == 0
    layout = json.loads((tmp_path / "plot/marl_eval.json").read_text())
    algorithms = layout["WirelessAccess"]["average_reward"]
    assert set(algorithms) == {"critic.kappa=0", "critic.kappa=1"}
    for runs in algorithms.values():
        assert set(runs) == {f"seed_{seed}" for seed in range(5)}
        for run in runs.values():
            assert len(run.pop("absolute_metrics")["average_reward"]) == 20
            assert list(run) == [f"step_{k}" for k in range(20)]
            for k, step in enumerate(run.values()):
                assert step["step_count"] == 20 * (k + 1)
                assert len(step["average_reward"]) == 1


@pytest.mark.parametrize(
    ("environments", "expected"),
    [
        (
            ("env.rows=2", "env.rows=3"),
            {("WirelessAccess", "average_reward, env.rows=2"), ("WirelessAccess", "average_reward, env.rows=3")},
        ),
        (("env=wireless", "env=coloring"), {("WirelessAccess", "average_reward"), ("Coloring", "average_reward")}),
    ],
)
def test_an_algorithm_has_one_name_in_all_environments(
    marl: Marl, tmp_path: Path, environments: tuple[str, ...], expected: set[tuple[str, str]]
) -> None:
    """What differs between environments is in the name of the task."""
    for k, env in enumerate(environments):
        for kappa in (0, 1):
            small = (env, f"critic.kappa={kappa}", "steps=40", "eval.steps=0", "logger=none")
            assert marl("train", *small, f"hydra.run.dir=runs/{k}{kappa}").code == 0
    assert marl("plot", "runs").code == 0
    layout = json.loads((tmp_path / "plot/marl_eval.json").read_text())
    algorithms = {(env, task): set(runs) for env, tasks in layout.items() for task, runs in tasks.items()}
    assert algorithms == {key: {"critic.kappa=0", "critic.kappa=1"} for key in expected}


def test_unfinished_and_diverged_runs_are_left_out_and_named(marl: Marl, tmp_path: Path) -> None:
    small = ("env.rows=2", "env.cols=3", "steps=40", "eval.steps=0", "logger=none")
    assert marl("train", "-m", "critic_scheduler.value=0.1,1e12", *small).code == 1
    assert marl("train", *small, "hydra.run.dir=outputs/unfinished").code == 0
    (tmp_path / "outputs/unfinished/summary.json").unlink()
    outcome = marl("plot", "outputs")
    assert outcome.code == 0
    left_out = [line for line in outcome.out.splitlines() if line.startswith("left out: ")]
    assert len(left_out) == 2
    assert any("diverged, training diverged at step" in line for line in left_out)
    assert any("unfinished: not finished" in line for line in left_out)
    assert "| all | 1 |" in outcome.out


@pytest.mark.parametrize("kept", [0, 10, 1000, -2])
def test_a_truncated_file_spoils_no_other_run(marl: Marl, tmp_path: Path, kept: int) -> None:
    small = ("env.rows=2", "env.cols=3", "steps=40", "eval.steps=0", "logger=none")
    for seed in (0, 1):
        assert marl("train", *small, f"seed={seed}", f"hydra.run.dir=runs/{seed}").code == 0
    whole = marl("plot", "runs/1").out
    for name in ("metrics.npz", "summary.json"):
        path = tmp_path / "runs/0" / name
        content = path.read_bytes()
        path.write_bytes(content[:kept])
        outcome = marl("plot", "runs")
        assert outcome.code == 0, outcome
        assert outcome.out == f"left out: runs/0: its summary.json or metrics.npz is damaged\n{whole}"
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[1]", "its summary.json or metrics.npz is damaged"),
        ("{}", "its summary.json or metrics.npz is damaged"),
        ('{"status": "finished"}', "its summary.json or metrics.npz is damaged"),
        ('{"status": "failed", "reason": "no luck"}', "failed, no luck"),
    ],
)
def test_a_summary_that_is_none(marl: Marl, tmp_path: Path, text: str, why: str) -> None:
    small = ("env.rows=2", "env.cols=3", "steps=40", "eval.steps=0", "logger=none")
    for seed in (0, 1):
        assert marl("train", *small, f"seed={seed}", f"hydra.run.dir=runs/{seed}").code == 0
    (tmp_path / "runs/0/summary.json").write_text(text)
    outcome = marl("plot", "runs")
    assert outcome.code == 0, outcome
    assert outcome.out.startswith(f"left out: runs/0: {why}\n")
    assert "| all | 1 |" in outcome.out
    shutil.copy(tmp_path / "runs/1/summary.json", tmp_path / "runs/0/summary.json")
    shutil.copy(tmp_path / "runs/1/metrics.npz", tmp_path / "runs/0/metrics.npz")
    assert "left out" not in marl("plot", "runs").out


WRONG = {  # what a summary may hold in place of what a run of one replica wrote
    "average_reward": ([None], ["x"], [[0.1]], [float("nan")], 0.1, {"0": 0.1}),
    "eval_average_reward": ([None], [], [0.1, 0.2], "x"),
    "eval_segments": ([[None]], [0.1], [[0.1], [0.2]], 3),
    "steps": (None, "40", 0.5),
    "seed": (None, [0]),
    "config": (None, [], "x"),
}


@pytest.mark.parametrize(("key", "value"), [(key, value) for key, values in WRONG.items() for value in values])
def test_a_summary_of_wrong_values(marl: Marl, tmp_path: Path, two: Path, key: str, value: object) -> None:
    shutil.copytree(two, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "runs/0/summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    outcome = marl("plot", "runs")
    assert outcome.code == 0, outcome
    assert outcome.out.startswith("left out: runs/0: ")
    assert "| all | 1 |" in outcome.out


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of two seeds."""
    directory = tmp_path_factory.mktemp("two")
    with command_in(directory) as marl:
        for seed in (0, 1):
            small = ("env.rows=2", "env.cols=3", "steps=40", "eval.steps=100", "logger=none")
            assert marl("train", *small, f"seed={seed}", f"hydra.run.dir=runs/{seed}").code == 0
    return directory


def test_labels_name_classes_and_only_what_differs(marl: Marl, tmp_path: Path) -> None:
    small = ("env.rows=2", "env.cols=3", "steps=40", "eval.steps=0", "logger=none")
    assert marl("train", "-m", "critic=tabular,neural", *small).code == 0
    assert {group.label for group in grouped(find([tmp_path])[0])} == {"critic=TabularCritic", "critic=NeuralCritic"}


def test_refusals(marl: Marl, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert_refused(marl("plot"), "needs directories")
    assert_refused(marl("plot", "nowhere"), "nowhere is no directory")
    assert_refused(marl("plot", "empty"), "no finished run in empty")
    small = ("env.rows=2", "env.cols=3", "eval.steps=0", "logger=none", "steps=40")
    assert marl("train", *small, "log_every=7", "hydra.run.dir=a").code == 0
    assert marl("train", *small, "log_every=9", "seed=1", "hydra.run.dir=b").code == 0
    with pytest.raises(ConfigError, match="no log point in common"):
        grouped(find([tmp_path])[0])
