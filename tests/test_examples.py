"""A project outside the library works as its README says."""

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from marl.envs import WirelessAccess
from marl.testing import check_critic, check_environment, check_policy, check_scheduler

REPOSITORY = Path(__file__).parents[1]
PROJECT = REPOSITORY / "examples" / "my_project"


def test_the_sweep_of_the_readme(tmp_path: Path) -> None:
    """The very command, with fewer steps and seeds, in a process of its own: six pairs of parts."""
    shutil.copytree(PROJECT, tmp_path / "mine", ignore=shutil.ignore_patterns("outputs", "__pycache__"))
    (told,) = [line for line in (PROJECT / "README.md").read_text().splitlines() if line.startswith("marl train -m")]
    assert told.endswith(" seed=0,1 steps=2000")
    arguments = [*shlex.split(told)[1:-2], "seed=0", "steps=40"]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "marl", *arguments, "eval.steps=20"],
        cwd=tmp_path / "mine",
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summaries = [json.loads(path.read_text()) for path in (tmp_path / "mine" / "outputs").rglob("summary.json")]
    assert len(summaries) == 6
    assert {summary["status"] for summary in summaries} == {"finished"}
    parts = {(summary["config"]["env"]["_target_"], summary["config"]["critic"]["_target_"]) for summary in summaries}
    assert parts == {
        (env, critic)
        for env in ("marl.envs.WirelessAccess", "flu.Flu")
        for critic in ("marl.critics.TabularCritic", "marl.critics.NeuralCritic", "pooled_critic.PooledCritic")
    }
    assert len(list((tmp_path / "mine" / "outputs").rglob("events.out.tfevents.*"))) == 6


def test_a_critic_of_ones_own_is_short() -> None:
    assert len((PROJECT / "pooled_critic.py").read_text().splitlines()) < 30


def test_policy_and_critic_move_to_another_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(PROJECT)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    from pooled_critic import PooledCritic  # type: ignore[import-not-found]
    from shared_softmax import SharedSoftmax  # type: ignore[import-not-found]

    env = WirelessAccess(rows=2, cols=3)
    s = a = torch.zeros(2, env.n, dtype=torch.int64)
    try:
        assert PooledCritic(env, kappa=1, replicas=2).to("meta").q(s, a).is_meta
        assert SharedSoftmax(env, replicas=2).to("meta").log_probs(s).is_meta
    finally:
        for name in ("pooled_critic", "shared_softmax"):
            sys.modules.pop(name, None)


def test_every_part_keeps_its_contract(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment on its ring, and on a star, where one agent has many neighbors and the others one."""
    monkeypatch.syspath_prepend(PROJECT)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    from fast_flu import FastFlu  # type: ignore[import-not-found]
    from flu import Flu  # type: ignore[import-not-found]
    from halving import Halving  # type: ignore[import-not-found]
    from keep_away import KeepAway  # type: ignore[import-not-found]
    from pooled_critic import PooledCritic  # type: ignore[import-not-found]
    from shared_softmax import SharedSoftmax  # type: ignore[import-not-found]

    (tmp_path / "star.txt").write_text("0 1\n0 2\n0 3\n0 4\n")
    try:
        for kind in Flu, FastFlu:
            for env in (kind(), kind(graph=str(tmp_path / "star.txt"), spontaneous=0.3, cost=0.5)):
                check_environment(env)
        check_critic(PooledCritic, Flu(graph="ring:5"), kappa=1)
        check_policy(SharedSoftmax, Flu(graph="ring:5"))
        check_policy(KeepAway, Flu(graph="ring:5"), sick=2)
        check_scheduler(Halving(0.1, period=500))
    finally:
        for name in ("flu", "fast_flu", "halving", "keep_away", "pooled_critic", "shared_softmax"):
            sys.modules.pop(name, None)


@pytest.mark.slow
def test_random_search(tmp_path: Path) -> None:
    """Two draws, and a third where one run fails: a table of what is finished."""
    small = ["env.rows=2", "env.cols=3", "steps=40", "eval.steps=0", "logger=none"]

    def search(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(REPOSITORY / "examples" / "random_search.py"), *arguments]
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    done = search("2", *small)
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.rglob("summary.json"))) == 2
    assert done.stdout.count("critic_scheduler.value=") >= 2
    assert search("1", *small, "critic.kappa=-1").returncode == 1
