"""Runs that are killed anywhere, and runs that are asked to stop: nothing is lost, and the numbers do not tell."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from marl import cli
from marl.core.errors import CheckpointError
from marl.runs import checkpoint
from tests.cli.command import Marl, assert_same_numbers, state_of, summary_of

SOON = ("fused", "fused-8")
"""These are killed in `make test`, the others in `make test-all`."""
KILLS = ("saved", "any", "saving", "any")
"""When each kind of run is killed, 24 times in all: soon after a checkpoint, anywhere, with a half written one there."""
RUNS = {  # overrides, steps, steps between checkpoints
    "fused": (["critic.kappa=1", "log_every=5000"], 2_000_000, 10_000),
    "fused-8": (["critic.kappa=1", "replicas=8", "critic.storage=hash"], 100_000, 1000),
    "autograd": (["critic.kappa=1", "trainer.engine=autograd"], 1500, 20),
    "autograd-8": (["critic.kappa=1", "replicas=8", "trainer.engine=autograd"], 1500, 20),
    "neural": (["critic=neural", "critic.kappa=1", "policy=neural"], 1500, 20),
    "neural-8": (["critic=neural", "critic.kappa=1", "policy=neural", "replicas=8"], 1500, 20),
}


def curves(run: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar as TensorBoard shows it, without the speeds."""
    events = EventAccumulator(str(run / "tb"), size_guidance={"scalars": 0}).Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith("perf/")]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def _train(arguments: list[str], directory: Path) -> None:
    os.chdir(directory)
    sys.argv = ["marl", "train", *arguments]
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    os._exit(cli.main())


def _kill(child: multiprocessing.Process, run: Path, when: str, some: float, left: float) -> None:
    """kill -9. some: a number in [0, 1); left: seconds that the run has yet to go."""
    saved, half = run / "checkpoint.pt", run / f".checkpoint.pt.{child.pid}"
    if when == "saved":
        before = saved.stat().st_mtime_ns if saved.exists() else 0
        while child.is_alive() and (not saved.exists() or saved.stat().st_mtime_ns == before):
            time.sleep(0.01)
        child.join(0.3 * some)
    elif when == "any":
        child.join(0.5 * some * left)
    while when == "saving" and child.is_alive():
        if half.exists():  # stopped, it cannot finish the file while it is looked for again
            os.kill(child.pid, signal.SIGSTOP)
            os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            if half.exists():
                break
            os.kill(child.pid, signal.SIGCONT)
    child.kill()
    child.join()
    assert child.exitcode == -signal.SIGKILL
    assert when != "saving" or half.exists()


@pytest.mark.parametrize("kind", [x if x in SOON else pytest.param(x, marks=pytest.mark.slow) for x in RUNS])
def test_killed_anywhere(marl: Marl, tmp_path: Path, kind: str) -> None:
    """kill -9 while checkpoints are written all the time, and each time the same command again."""
    overrides, length, every = RUNS[kind]
    command = [*overrides, f"steps={length}", f"checkpoint.every={every}", "env.rows=2", "env.cols=3", "eval.steps=20"]
    assert marl("train", *command, f"steps={2 * every}", "hydra.run.dir=warm").code == 0
    clock = time.monotonic()
    assert marl("train", *command, "hydra.run.dir=whole").code == 0
    whole = time.monotonic() - clock
    draw, fork = random.Random(kind), multiprocessing.get_context("fork")
    run, steps = tmp_path / "run", [0]
    for when in KILLS:
        child = fork.Process(target=_train, args=([*command, "hydra.run.dir=run"], tmp_path))
        child.start()
        _kill(child, run, when, draw.random(), whole * (1 - steps[-1] / length))
        steps.append(checkpoint.load(run / "checkpoint.pt")[1]["trainer"]["t"])  # it is whole
    assert steps == sorted(steps)
    assert 0 < steps[1] < length
    assert marl("train", *command, "hydra.run.dir=run").code == 0
    assert list(run.glob(".checkpoint.pt.*")) == []
    assert_same_numbers(run, tmp_path / "whole")
    evaluated = [summary_of(tmp_path / name)["eval_average_reward"] for name in ("run", "whole")]
    assert evaluated[0] == evaluated[1]
    assert curves(run) == curves(tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop(marl: Marl, tmp_path: Path, number: int) -> None:
    """A signal leaves a checkpoint where it came, long before the next one would have been written."""
    command = ["env.rows=2", "env.cols=3", "eval.steps=0", "logger=none", "hydra.run.dir=run", "seed=3"]
    started = subprocess.Popen(
        [sys.executable, "-m", "marl", "train", *command, "steps=1000000000", "log_every=1000"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    while not (tmp_path / "run" / "train.log").exists():
        time.sleep(0.05)
    time.sleep(1.5)
    started.send_signal(number)
    printed = started.communicate(timeout=60)[1].decode()
    assert started.returncode == 130
    assert printed.splitlines()[-1] == "marl: interrupted; the same command continues from the last checkpoint"
    state = state_of(tmp_path / "run")
    steps = state["/trainer/t"]
    assert 0 < steps < 100_000_000
    assert marl("train", *command, f"steps={steps}", "log_every=1000", "hydra.run.dir=whole").code == 0
    whole = state_of(tmp_path / "whole")
    for key in state:
        if key.startswith(("/trainer/policy", "/trainer/critic/", "/trainer/s", "/trainer/a")):
            assert (state[key] == whole[key]).all() if hasattr(state[key], "all") else state[key] == whole[key], key


def test_two_processes_with_one_seed(tmp_path: Path) -> None:
    """The same files but for the clock."""
    command = ["env.rows=2", "env.cols=3", "steps=300", "replicas=2", "critic.kappa=1", "threads=1"]
    for name in ("one", "other"):
        arguments = [sys.executable, "-m", "marl", "train", *command, f"hydra.run.dir={name}"]
        subprocess.run(arguments, cwd=tmp_path, check=True, capture_output=True)
    one, other = tmp_path / "one", tmp_path / "other"
    assert_same_numbers(one, other)
    assert curves(one) == curves(other)
    clocks = ("env_steps_per_second", "agent_steps_per_second", "training_steps_per_second")
    first, second = ({k: v for k, v in summary_of(run).items() if k not in clocks} for run in (one, other))
    assert first == second
    assert (one / ".hydra/config.yaml").read_bytes() == (other / ".hydra/config.yaml").read_bytes()


def test_a_wrong_bit_in_a_checkpoint_changes_no_number_unnoticed(marl: Marl, tmp_path: Path) -> None:
    """At 60 places: either the file is refused, or the bit was between the numbers and they are all as they were."""
    assert marl("train", "steps=40", "eval.steps=0", "logger=none", "hydra.run.dir=run").code == 0
    path = tmp_path / "run" / "checkpoint.pt"
    content, state, refused = path.read_bytes(), state_of(tmp_path / "run"), 0
    for place in range(0, len(content), len(content) // 60):
        spoilt = bytearray(content)
        spoilt[place] ^= 1
        path.write_bytes(spoilt)
        try:
            checkpoint.load(path)
        except CheckpointError:
            refused += 1
        else:
            found = state_of(tmp_path / "run")
            assert found.keys() == state.keys()
            assert all(np.array_equal(found[key], state[key]) for key in state)
    assert refused > 10
