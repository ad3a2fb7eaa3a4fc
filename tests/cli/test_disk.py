"""A disk that fills, or turns read-only, while a run is at work: one sentence, and the last checkpoint stays."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from marl.runs import checkpoint
from tests.cli.command import Marl, state_of

COMMAND = (
    "env.rows=2",
    "env.cols=3",
    "critic.kappa=1",
    "eval.steps=0",
    "checkpoint.every=20000",
    "log_every=10000",
    "hydra.run.dir=run",
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 16 MiB of its own, where one may be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place], capture_output=True).returncode:
        pytest.skip("only root may mount a disk")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.parametrize("logger", ["none", "tensorboard"])
def test_the_last_checkpoint_stays(marl: Marl, disk: Path, logger: str) -> None:
    arguments = [sys.executable, "-m", "marl", "train", *COMMAND, f"logger={logger}", "steps=1000000000"]
    run = subprocess.Popen(arguments, cwd=disk, stderr=subprocess.PIPE)
    while not (disk / "run" / "checkpoint.pt").exists():
        time.sleep(0.02)
    with (disk / "filler").open("wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))
    lines = run.communicate(timeout=60)[1].decode().splitlines()
    assert run.returncode == 1
    assert lines[-1].startswith("marl: the run stopped at step ")
    assert "checkpoint" in lines[-1]
    assert "No space left" in lines[-1]
    assert not any("Traceback" in line for line in lines)
    steps = checkpoint.load(disk / "run" / "checkpoint.pt")[1]["trainer"]["t"]
    assert steps > 0
    (disk / "filler").unlink()
    again = marl("train", *COMMAND, f"logger={logger}", f"steps={steps + 30000}", f"hydra.run.dir={disk / 'run'}")
    assert again.code == 0, again.err
    assert state_of(disk / "run")["/trainer/t"] == steps + 30000


def test_a_disk_that_turns_read_only(disk: Path) -> None:
    """Without a log file: a disk on which one is open cannot be made read-only."""
    settings = ("logger=none", "hydra/job_logging=disabled", "steps=1000000000")
    run = subprocess.Popen([sys.executable, "-m", "marl", "train", *COMMAND, *settings], cwd=disk, stderr=subprocess.PIPE)
    saved, clock = disk / "run" / "checkpoint.pt", time.monotonic()
    while not saved.exists():
        time.sleep(0.02)
    while subprocess.run(["mount", "-o", "remount,ro", disk], capture_output=True).returncode:
        assert time.monotonic() - clock < 60
    (lines,) = run.communicate(timeout=60)[1].decode().splitlines()
    assert run.returncode == 1
    assert lines.startswith("marl: the run stopped at step ")
    assert "Read-only file system" in lines
    assert checkpoint.load(saved)[1]["trainer"]["t"] > 0
