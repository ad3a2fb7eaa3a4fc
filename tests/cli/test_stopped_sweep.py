"""Sweeps that are told to stop, or killed: every job that had begun leaves a checkpoint, and no process stays behind."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from marl.runs import checkpoint

LONG = ("env.rows=2", "env.cols=3", "steps=1000000000", "log_every=100000", "eval.steps=0", "logger=none")
"""Its first regular checkpoint is minutes away."""
SWEEP = ("-m", "seed=0,1", *LONG)
LAUNCHERS = {"basic": ((), 1), "joblib": (("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"), 2)}
"""Overrides, and how many jobs run at a time."""
PATIENCE = 10.0
Start = Callable[..., subprocess.Popen]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """start("steps=3") -> a sweep in tmp_path, in a session of its own, of which nothing is left after the test."""
    started: list[subprocess.Popen] = []

    def popen(*overrides: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "marl", "train", *SWEEP, *overrides]
        listen = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.default_int_handler)}
        started.append(subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True, **listen))
        return started[-1]

    yield popen
    for sweep in started:
        for process in members(sweep.pid):
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        sweep.communicate()


def members(session: int) -> list[int]:
    """The living processes of a session (Linux)."""
    found = []
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            state, _, _, of = (place / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state != "Z":
                found.append(int(place.name))
    return found


def awaited(there: Callable[[], bool], seconds: float) -> bool:
    """Whether it comes true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not there():
        time.sleep(0.02)
    return there()


def begun(directory: Path) -> set[Path]:
    return {path.parent.parent for path in directory.rglob(".hydra/config.yaml")}


def steps_of(run: Path) -> int:
    return checkpoint.load(run / "checkpoint.pt")[1]["trainer"]["t"]


@pytest.mark.parametrize(
    ("launcher", "number"),
    [
        ("basic", signal.SIGINT),
        pytest.param("basic", signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param("joblib", signal.SIGINT, marks=pytest.mark.slow),
        ("joblib", signal.SIGTERM),
    ],
)
def test_a_sweep_is_told_to_stop(start: Start, tmp_path: Path, launcher: str, number: int) -> None:
    """By Ctrl-C, which a terminal sends to all of its processes, or by SIGTERM to the first alone."""
    overrides, at_a_time = LAUNCHERS[launcher]
    sweep = start(*overrides)
    assert awaited(lambda: len(begun(tmp_path)) == at_a_time, 60)
    time.sleep(1.0)
    os.killpg(sweep.pid, number) if number == signal.SIGINT else sweep.send_signal(number)
    printed = sweep.communicate(timeout=60)[1].decode().splitlines()
    assert sweep.returncode == 130, printed
    assert printed[-1] == "marl: interrupted; the same command continues from the last checkpoint"
    assert f"{at_a_time} jobs: 0 finished, {at_a_time} not" in printed
    assert awaited(lambda: members(sweep.pid) == [], PATIENCE)
    assert len(begun(tmp_path)) == at_a_time
    assert all(steps_of(run) > 0 for run in begun(tmp_path))
    assert not any("Traceback" in line for line in printed), printed


def test_a_killed_sweep_takes_its_job_along(start: Start, tmp_path: Path) -> None:
    """kill -9 leaves the sweep no time to tell it, and the same command goes on at once."""
    sweep = start()
    assert awaited(lambda: len(begun(tmp_path)) == 1, 60)
    time.sleep(1.0)
    assert len(members(sweep.pid)) == 2
    sweep.kill()
    sweep.wait()
    assert awaited(lambda: members(sweep.pid) == [], PATIENCE)
    (run,) = begun(tmp_path)
    before = steps_of(run)
    assert before > 0

    again = start()
    assert awaited(lambda: "continuing" in (run / "train.log").read_text(), 60)
    time.sleep(1.0)
    again.terminate()
    printed = again.communicate(timeout=60)[1].decode().splitlines()
    assert again.returncode == 130, printed
    assert "1 jobs: 0 finished, 1 not" in printed
    assert steps_of(run) > before
