"""Runs that stop half-way: the same command finishes them, and the numbers do not tell."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from marl.trainers import ScalableActorCritic
from marl.trainers.trainer import Trainer
from tests.cli.command import SMALL, Marl, Outcome, assert_same_numbers, contents, state_of, summary_of


def curve_of(run: Path, tag: str = "train/average_reward") -> list[tuple[int, float]]:
    """A scalar as TensorBoard shows it."""
    events = EventAccumulator(str(run / "tb"), size_guidance={"scalars": 0})
    return [(event.step, event.value) for event in events.Reload().Scalars(tag)]


def _interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


def assert_interrupted(outcome: Outcome, run: Path) -> None:
    """Said in one line at the end, and not taken for finished."""
    assert outcome.code == 130
    assert outcome.err.splitlines()[-1].startswith("marl: interrupted")
    assert "Traceback" not in outcome.err
    assert not (run / "summary.json").exists()


@pytest.mark.parametrize("logger", ["none", "tensorboard"])
@pytest.mark.parametrize("when", [5, 23])
def test_control_c_while_training(
    marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: int, logger: str
) -> None:
    """Before the first checkpoint (step 8), and after two of them."""
    command = ["train", *SMALL, f"logger={logger}", "checkpoint.every=8"]
    assert marl(*command, "hydra.run.dir=whole").code == 0
    advance = ScalableActorCritic._advance

    def interrupted(trainer: ScalableActorCritic, steps: int) -> None:
        advance(trainer, min(steps, when - trainer.t))
        if trainer.t == when:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ScalableActorCritic, "_advance", interrupted)
        assert_interrupted(marl(*command, "hydra.run.dir=run"), tmp_path / "run")
    assert (tmp_path / "run" / "checkpoint.pt").exists() == (when > 8)
    assert marl(*command, "hydra.run.dir=run").code == 0
    assert_same_numbers(tmp_path / "run", tmp_path / "whole")
    if logger == "tensorboard":
        assert curve_of(tmp_path / "run") == curve_of(tmp_path / "whole")
        assert len(curve_of(tmp_path / "run")) == 40


def test_control_c_while_evaluating(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = ["train", *SMALL, "logger=none", "eval.steps=50"]
    assert marl(*command, "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "evaluate", _interrupted)
        assert_interrupted(marl(*command, "hydra.run.dir=run"), tmp_path / "run")
    assert marl(*command, "hydra.run.dir=run").code == 0
    assert_same_numbers(tmp_path / "run", tmp_path / "whole")
    evaluated = [summary_of(tmp_path / name)["eval_average_reward"] for name in ("run", "whole")]
    assert evaluated[0] == evaluated[1]


@pytest.mark.parametrize("name", ["metrics.npz", "summary.json"])
@pytest.mark.parametrize("log_every", [1, 7])
def test_what_was_logged_at_the_end_is_not_doubled(
    marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, log_every: int
) -> None:
    """A run that has logged all, its evaluation too, but could not write its results; 7 does not divide 40."""
    command = ["train", *SMALL, "eval.steps=50", f"log_every={log_every}"]
    assert marl(*command, "hydra.run.dir=whole").code == 0
    replace = os.replace

    def full(old: Any, new: Any) -> None:
        if Path(new).name == name:
            raise OSError(28, "No space left on device", name)
        replace(old, new)

    for _ in range(2):
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full)
            assert marl(*command, "hydra.run.dir=run").code == 1
    assert marl(*command, "hydra.run.dir=run").code == 0
    assert_same_numbers(tmp_path / "run", tmp_path / "whole")
    for tag in ("train/average_reward", "eval/average_reward"):
        assert curve_of(tmp_path / "run", tag) == curve_of(tmp_path / "whole", tag)
    assert len(curve_of(tmp_path / "run", "eval/average_reward")) == 1
    assert len(curve_of(tmp_path / "run")) == 40 // log_every


def test_control_c_while_doing_it_again(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The summary of the run that force=true replaces must not make the new one look finished."""
    command, run = ["train", *SMALL, "logger=none", "hydra.run.dir=run"], tmp_path / "run"
    assert marl(*command).code == 0
    with monkeypatch.context() as patch:
        patch.setattr(ScalableActorCritic, "_advance", _interrupted)
        assert_interrupted(marl(*command, "force=true"), run)
    assert not (run / "checkpoint.pt").exists()
    assert marl(*command).code == 0
    assert summary_of(run)["steps"] == 40


def test_the_summary_is_written_last(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    replace = os.replace
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda old, new: (written.append(Path(new).name), replace(old, new)))
        assert marl("train", *SMALL, "logger=none", "checkpoint.every=4", "hydra.run.dir=run").code == 0
    assert written[-2:] == ["metrics.npz", "summary.json"]
    assert written.count("checkpoint.pt") == 10
    assert {path for path in contents(tmp_path / "run") if path.endswith((".pt", ".npz", ".json"))} <= set(written)


@pytest.mark.parametrize("fault", ["torch.save", "os.fsync", "os.replace"])
def test_a_full_disk_while_saving_keeps_the_previous_checkpoint(
    marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    command, run = ["train", *SMALL, "logger=none", "checkpoint.every=4"], tmp_path / "run"
    assert marl(*command, "hydra.run.dir=whole").code == 0
    module, name = {"torch": torch, "os": os}[fault.partition(".")[0]], fault.partition(".")[2]
    works = getattr(module, name)

    def full(*arguments: Any) -> None:
        """Fails, with half a file written, once there is a checkpoint of step 20."""
        if (run / "checkpoint.pt").exists() and state_of(run)["/trainer/t"] == 20:
            if fault == "torch.save":
                arguments[1].write(b"half")
            raise OSError(28, "No space left on device", "checkpoint.pt")
        works(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, full)
        outcome = marl(*command, "hydra.run.dir=run")
    assert outcome.code != 0
    assert outcome.err.splitlines()[-1].startswith("marl: ")
    assert "No space left" in outcome.err.splitlines()[-1]
    assert "Traceback" not in outcome.err
    assert state_of(run)["/trainer/t"] == 20
    assert [path for path in contents(run) if Path(path).name.startswith(".") and path != ".hydra"] == []
    if fault == "torch.save":  # with the others the summary cannot be written either
        assert summary_of(run)["status"] == "failed"
        assert "No space left" in summary_of(run)["reason"]
    assert marl(*command, "hydra.run.dir=run").code == 0
    assert summary_of(run)["status"] == "finished"
    assert_same_numbers(run, tmp_path / "whole")
