"""`marl train` says what memory a run takes, and never dies of it silently."""

from pathlib import Path

import pytest

from marl.core import memory
from marl.runs import memory as runs_memory
from tests.cli.command import SMALL, Marl, assert_same_numbers, summary_of


def test_the_forecast(marl: Marl) -> None:
    done = marl("train", "steps=200", "eval.steps=0", "logger=none", "critic.kappa=1")
    assert done.code == 0
    (line,) = [text for text in done.err.splitlines() if "memory: " in text]
    assert "bytes per agent" in line
    assert "GiB more as the table grows" in line
    assert "GiB are free" in line


def test_a_run_that_does_not_fit_is_not_begun(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free", lambda: 1000)
    monkeypatch.setattr(runs_memory, "_resident", lambda: 0)
    for setting in ("critic.storage=dense", "critic.storage=hash"):
        done = marl("train", *SMALL, "logger=none", "critic.kappa=1", setting, "hydra.run.dir=run")
        assert done.code == 2
        assert "of memory are free; use fewer replicas" in done.err
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_a_run_that_outgrows_the_memory_stops_whole(
    engine: str, marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops at a step, says so, and goes on from there once there is room, with the numbers of an unbroken run."""
    settings = [
        "train",
        "logger=none",
        f"trainer.engine={engine}",
        "critic.kappa=1",
        "steps=300",
        "eval.steps=0",
        "log_every=10",
    ]
    assert marl(*settings, "hydra.run.dir=whole").code == 0
    with monkeypatch.context() as tight:
        tight.setattr(memory, "free", lambda: 100_000)
        tight.setattr(runs_memory, "_resident", lambda: 2**30)
        done = marl(*settings, "hydra.run.dir=run")
    assert done.code == 1
    assert "its checkpoint is whole: the table of the critic has to grow; that needs" in done.err
    summary = summary_of(tmp_path / "run")
    assert summary["status"] == "failed"
    assert "memory are free" in summary["reason"]
    assert (tmp_path / "run" / "checkpoint.pt").exists()
    assert marl(*settings, "hydra.run.dir=run").code == 0
    assert_same_numbers(tmp_path / "run", tmp_path / "whole")
