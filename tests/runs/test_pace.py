"""When checkpoints are written: by the clock, at the end and on request, and never for more than a share of the time."""

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marl.cli.train import compose
from marl.runs import pace, run
from marl.runs.directory import RunDirectory
from marl.runs.pace import Pace

SMALL = ["env.rows=2", "env.cols=2", "steps=400", "eval.steps=0", "logger=none", "trainer.engine=autograd"]


class Clock:
    """A clock that goes on when it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now = 100.0
        monkeypatch.setattr(pace, "time", SimpleNamespace(monotonic=lambda: self.now))


def test_a_checkpoint_is_due_a_minute_after_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, found = Clock(monkeypatch), Pace()
    for _ in range(3):
        clock.now += 59.9
        assert not found.due
        clock.now += 0.1
        assert found.due
        with found.writing():
            clock.now += 1.0
        assert not found.due


def test_writing_takes_no_more_than_a_twentieth_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, found, written = Clock(monkeypatch), Pace(), 0.0
    for _ in range(100_000):
        clock.now += 0.5
        if found.due:
            with found.writing():
                clock.now += 11.0
            written += 11.0
    assert 0.04 < written / (clock.now - 100.0) <= 0.05


def saves(monkeypatch: pytest.MonkeyPatch, directory: Path, *settings: str) -> list[int]:
    """Trains in `directory`, and returns the steps at which checkpoints were written."""
    steps = []
    save = RunDirectory.save

    def noted(self: RunDirectory, config: Any, state: Any) -> None:
        steps.append(state["trainer"]["t"])
        save(self, config, state)

    monkeypatch.setattr(RunDirectory, "save", noted)
    run.train(compose([*SMALL, *settings]), directory)
    return steps


def test_a_short_run_writes_one_and_more_where_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert saves(monkeypatch, tmp_path / "clock") == [400]
    assert saves(monkeypatch, tmp_path / "steps", "checkpoint.every=150") == [150, 300, 400]


def test_a_long_run_writes_one_whenever_it_is_due(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a minute of no length, at every piece of the run; between them it learns what it learns without."""
    monkeypatch.setattr(pace, "LONGEST", 0.0)
    monkeypatch.setattr(pace, "SHARE", 1.0)
    written = saves(monkeypatch, tmp_path / "often")
    assert len(written) > 3
    assert written[-1] == 400
    monkeypatch.undo()
    once = run.train(compose(SMALL), tmp_path / "once")
    often = run.train(compose(SMALL), tmp_path / "often")
    assert once["average_reward"] == often["average_reward"]


def test_the_two_rates_tell_learning_from_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(self: RunDirectory, config: Any, state: Any) -> None:
        time.sleep(0.5)

    monkeypatch.setattr(RunDirectory, "save", slowly)
    summary = run.train(compose(SMALL), tmp_path)
    whole, learning = (400 / summary[key] for key in ("env_steps_per_second", "training_steps_per_second"))
    assert learning > 0.0
    assert whole > learning + 0.5
