"""What a run leaves in its directory."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from torch import Tensor

from marl.runs.directory import RunDirectory
from tests.cli.command import SMALL, Marl, command_in, contents, metrics_of, state_of, summary_of

RUN = ("env.rows=2", "env.cols=3", "steps=200", "eval.steps=100", "replicas=2", "seed=5", "hydra.run.dir=run")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two replicas, seeds 5 and 6."""
    directory = tmp_path_factory.mktemp("run_directory")
    with command_in(directory) as marl:
        outcome = marl("train", *RUN)
    assert outcome.code == 0, outcome
    return directory / "run"


def test_contents(run: Path) -> None:
    files = {path for path, content in contents(run).items() if content is not None}
    (events,) = [path for path in files if path.startswith("tb/")]
    assert Path(events).name.startswith("events.out.tfevents.")
    assert files - {events} == {
        ".hydra/config.yaml",
        ".hydra/hydra.yaml",
        ".hydra/overrides.yaml",
        "checkpoint.pt",
        "metrics.npz",
        "summary.json",
        "train.log",
    }


def test_summary(run: Path) -> None:
    summary = summary_of(run)
    assert summary["status"] == "finished"
    assert "reason" not in summary
    assert [summary[key] for key in ("steps", "replicas", "seed", "engine")] == [200, 2, 5, "fused"]
    for key in ("average_reward", "eval_average_reward", "eval_half_width"):
        assert len(summary[key]) == 2
        assert all(isinstance(value, float) and 0.0 <= value <= 1.0 for value in summary[key])
    assert summary["env_steps_per_second"] > 0.0
    assert summary["agent_steps_per_second"] == pytest.approx(2 * 6 * summary["env_steps_per_second"])
    assert summary["config"] == yaml.safe_load((run / ".hydra" / "config.yaml").read_text())
    assert summary["config"]["env"]["rows"] == 2
    assert {"python", "networked-marl", "torch", "numpy", "hydra-core", "tensorboard"} <= set(summary["versions"])
    assert summary["versions"]["torch"] == torch.__version__


def test_average_reward_is_that_of_the_last_tenth(run: Path) -> None:
    metrics = metrics_of(run)
    late = metrics["train/average_reward"][metrics["step"] > 180]
    assert len(late) == 20
    assert summary_of(run)["average_reward"] == pytest.approx(late.mean(axis=0).tolist(), rel=1e-12)


def test_metrics(run: Path) -> None:
    with np.load(run / "metrics.npz") as arrays:
        content = {tag: arrays[tag] for tag in arrays.files}
    assert content["step"].tolist() == list(range(1, 201))  # log_every = steps / 200
    per_replica = {"train/average_reward", "critic/td_error", "critic/mu", "actor/entropy"}
    one = {"schedule/alpha", "schedule/eta", "perf/env_steps_per_second", "perf/agent_steps_per_second"}
    assert per_replica | one < set(content)
    assert {tag: content[tag].shape for tag in per_replica} == dict.fromkeys(per_replica, (200, 2))
    assert {tag: content[tag].shape for tag in one} == dict.fromkeys(one, (200,))
    assert all(np.isfinite(array).all() for array in content.values())
    assert (content["train/average_reward"][:, 0] != content["train/average_reward"][:, 1]).any()


def test_provenance(run: Path) -> None:
    assert yaml.safe_load((run / ".hydra" / "overrides.yaml").read_text()) == list(RUN[:-1])
    assert yaml.safe_load((run / ".hydra" / "hydra.yaml").read_text())["hydra"]["run"]["dir"] == "run"
    assert "Assumption 3" in (run / "train.log").read_text()


def test_checkpoint_needs_no_code_to_be_loaded(run: Path) -> None:
    content = torch.load(run / "checkpoint.pt", weights_only=True)
    assert set(content) == {"format", "config", "state"}
    assert json.loads(content["config"]) == summary_of(run)["config"]
    state = state_of(run)
    assert state["/trainer/t"] == 200
    assert state["/trainer/policy/theta"].shape[:2] == (2, 6)
    assert all(isinstance(leaf, (Tensor, int, float, str, list, type(None))) for leaf in state.values())


def test_log_every_and_checkpoint_every(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    keep: Callable[..., Any] = torch.save
    monkeypatch.setattr(torch, "save", lambda x, file: (saved.append(x["state"]["trainer"]["t"]), keep(x, file)))
    assert marl("train", *SMALL, "log_every=7", "checkpoint.every=15", "hydra.run.dir=run").code == 0
    assert metrics_of(tmp_path / "run")["step"].tolist() == [7, 14, 21, 28, 35]
    assert saved == [15, 30, 40]


def test_without_evaluation_none_is_reported(marl: Marl, tmp_path: Path) -> None:
    outcome = marl("train", *SMALL, "hydra.run.dir=run")
    assert "eval_average_reward" not in summary_of(tmp_path / "run")
    assert "evaluated" not in outcome.out


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_is_that_of_everything_learned(marl: Marl, tmp_path: Path, dtype: str) -> None:
    assert marl("train", *SMALL, f"dtype={dtype}", "hydra.run.dir=run").code == 0
    state = state_of(tmp_path / "run")
    learned = {"/trainer/policy/theta", "/trainer/critic/table._extra_state/rows/0", "/trainer/critic/objective.mu"}
    assert {str(state[path].dtype) for path in learned} == {f"torch.{dtype}"}


def test_divergence_is_reported_not_raised(marl: Marl, tmp_path: Path) -> None:
    command = ("train", *SMALL, "hydra.run.dir=run", "critic_scheduler.value=1e200", "actor_scheduler.value=1e200")
    outcome = marl(*command)
    summary = summary_of(tmp_path / "run")
    last = outcome.err.splitlines()[-1]
    assert outcome.code == 1
    assert "Traceback" not in outcome.err
    assert last.startswith("marl: training diverged at step ")
    assert summary["status"] == "diverged"
    assert last == f"marl: {summary['reason']}"
    assert f"step {summary['steps'] - 1}:" in summary["reason"]  # found at the log point after it, every step here
    assert len(metrics_of(tmp_path / "run")["step"]) == summary["steps"] - 1
    assert marl(*command).err.splitlines()[-1] == last  # it is not taken for a finished run


def test_divergence_before_the_first_log_point(marl: Marl, tmp_path: Path) -> None:
    assert marl("train", *SMALL, "hydra.run.dir=run", "critic_scheduler.value=1e200", "log_every=40").code == 1
    summary = summary_of(tmp_path / "run")
    assert (summary["status"], summary["average_reward"]) == ("diverged", [])
    assert metrics_of(tmp_path / "run")["step"].tolist() == []


def test_evaluate_measures_the_checkpoint_and_touches_nothing(run: Path, marl: Marl) -> None:
    before, summary = contents(run), summary_of(run)
    outcome = marl("evaluate", str(run), "eval.steps=100")
    assert (outcome.code, outcome.err) == (0, "")
    lines = outcome.out.splitlines()
    for b, (mean, half) in enumerate(zip(summary["eval_average_reward"], summary["eval_half_width"], strict=True)):
        assert lines[b] == f"replica {b}: average reward {mean:.5f} +- {half:.5f} (95 %, 100 steps)"
    assert lines[2:] == [f"all 2: average reward {np.mean(summary['eval_average_reward']):.5f}"]
    assert marl("evaluate", str(run), "eval.steps=100", "seed=9").out != outcome.out
    assert marl("evaluate", str(run), "eval.steps=100", "eval.burn_in=55").out != outcome.out
    assert contents(run) == before


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    """Wherever they stand: a setting that is infinite must not cost the summary of a finished run."""
    given = {
        "average_reward": [float("nan"), 0.5],
        "config": {"env": {"bound": float("inf"), "sizes": (1, -float("inf"))}},
    }
    RunDirectory(tmp_path).close({"step": np.arange(2)}, given)
    assert summary_of(tmp_path) == {"average_reward": [None, 0.5], "config": {"env": {"bound": None, "sizes": [1, None]}}}
