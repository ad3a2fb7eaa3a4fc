"""What a run measures when lengths do not divide, and what it refuses before it begins."""

import json
from pathlib import Path

import numpy as np
import pytest

from marl.runs.directory import RunDirectory
from tests.cli.command import SMALL, Marl, assert_refused, contents

RUN = ("env.rows=2", "env.cols=3", "eval.steps=0", "logger=none")


def average_of(run: Path) -> list[float]:
    return json.loads((run / "summary.json").read_text())["average_reward"]


@pytest.mark.parametrize(("log_every", "checkpoint_every"), [(300, 299), (70, 1000), (1000, 100), (7, 905)])
def test_the_last_tenth_depends_on_no_spacing(marl: Marl, tmp_path: Path, log_every: int, checkpoint_every: int) -> None:
    spaced = ("steps=1000", f"log_every={log_every}", f"checkpoint.every={checkpoint_every}", "hydra.run.dir=spaced")
    assert marl("train", *RUN, *spaced).code == 0
    assert marl("train", *RUN, "steps=1000", "log_every=100", "hydra.run.dir=plain").code == 0
    with_rows = average_of(tmp_path / "plain")
    assert average_of(tmp_path / "spaced") == pytest.approx(with_rows, abs=1e-12)
    assert with_rows[0] > 0.05


def test_a_resumed_run_measures_its_new_last_tenth(marl: Marl, tmp_path: Path) -> None:
    assert marl("train", *RUN, "steps=400", "log_every=20", "hydra.run.dir=run").code == 0
    assert marl("train", "resume=run", "steps=800").code == 0
    assert marl("train", *RUN, "steps=800", "log_every=20", "hydra.run.dir=whole").code == 0
    assert average_of(tmp_path / "run") == average_of(tmp_path / "whole")


@pytest.mark.parametrize(
    ("overrides", "fragments"),
    [
        (("env._target_=builtins.dict",), ("env", "builtins.dict")),
        (("env._target_=.foo.bar",), ("env._target_", ".foo.bar")),
        (("policy._target_=marl.critics.TabularCritic",), ("policy", "makes no Policy")),
        (("critic_scheduler._target_=marl.schedulers.TwoTimescale.check",), ("critic_scheduler",)),
        (("trainer.critic_optimizer._target_=torch.optim.Adam",), ("plain SGD", "use another critic")),
        (("+trainer.critic_optimizer.momentum=0.9",), ("plain SGD",)),
        (("+trainer.critic_optimizer.weight_decay=0.1",), ("plain SGD",)),
        (("+trainer.critic_optimizer.maximize=true",), ("plain SGD",)),
        (("+trainer.actor_optimizer.lr=0.5",), ("trainer.actor_optimizer.lr", "actor_scheduler")),
        (("+trainer.actor_optimizer.nosuch=1",), ("trainer.actor_optimizer", "nosuch")),
        (("trainer.actor_optimizer._target_=torch.optim.LBFGS",), ("trainer.actor_optimizer", "LBFGS")),
        (("threads=9999999999999",), ("threads", "1024")),
        (("critic_scheduler=power_law", "critic_scheduler.offset=0.1", "critic_scheduler.exponent=400"), ("too large",)),
        (("policy=neural", "policy.hidden=99999999999"), ("policy", "memory")),
        (("replicas=999999999",), ("replicas=999999999",)),
        (("env.deadline=23",), ("env.deadline=23",)),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else value,
)
def test_parts_that_cannot_work(marl: Marl, tmp_path: Path, overrides: tuple[str, ...], fragments: tuple[str, ...]) -> None:
    assert_refused(marl("train", *SMALL, *overrides), *fragments)
    assert contents(tmp_path) == {}


def test_files_of_somebody_else_stay(marl: Marl, tmp_path: Path) -> None:
    (tmp_path / "mine" / "tb").mkdir(parents=True)
    (tmp_path / "mine" / "tb" / "x").write_text("precious")
    before = contents(tmp_path)
    assert_refused(marl("train", *SMALL, "hydra.run.dir=mine"), "mine holds tb of something else", "force=true")
    assert contents(tmp_path) == before


@pytest.mark.parametrize("again", [(), ("resume=run", "steps=80")])
def test_a_changed_incidence_file_is_another_environment(marl: Marl, tmp_path: Path, again: tuple[str, ...]) -> None:
    (tmp_path / "reach.json").write_text("[[0], [0, 1], [1]]")
    run = ("env.incidence=reach.json", "steps=40", "eval.steps=0", "hydra.run.dir=run")
    assert marl("train", *run).code == 0
    (tmp_path / "reach.json").write_text("[[0], [0, 1], [0]]")
    assert_refused(marl("train", *(again or run)), "another environment", "file")
    assert_refused(marl("evaluate", "run", "eval.steps=40"), "another environment", "file")


@pytest.mark.parametrize("clash", ["hydra.run.dir=other", "force=true", "-m"])
def test_resume_takes_no_other_directory(marl: Marl, tmp_path: Path, clash: str) -> None:
    assert marl("train", *SMALL, "hydra.run.dir=run").code == 0
    before = contents(tmp_path)
    assert_refused(marl("train", "resume=run", clash), "resume=run", clash)
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("trainer", "steps", "expected"),
    [
        ("trainer=rollout_actor_critic", 1000, range(32, 1001, 32)),  # steps / 200 = 5, so one rollout
        ("trainer=rollout_actor_critic", 8000, range(64, 8001, 64)),  # 40, so two
        ("trainer=independent_ppo", 400, range(128, 401, 128)),
        ("trainer=scalable_actor_critic", 400, range(2, 401, 2)),
    ],
)
def test_something_is_learned_between_any_two_log_points(
    marl: Marl, tmp_path: Path, trainer: str, steps: int, expected: range
) -> None:
    assert marl("train", *RUN, trainer, f"steps={steps}", "hydra.run.dir=run").code == 0
    with np.load(tmp_path / "run" / "metrics.npz") as metrics:
        assert metrics["step"].tolist() == list(expected)
        assert np.isfinite(metrics["critic/td_error"]).all()


def test_log_points_that_are_asked_for_are_kept(marl: Marl, tmp_path: Path) -> None:
    command = (*RUN, "trainer=rollout_actor_critic", "steps=100", "log_every=10", "hydra.run.dir=run")
    assert marl("train", *command).code == 0
    with np.load(tmp_path / "run" / "metrics.npz") as metrics:
        assert metrics["step"].tolist() == list(range(10, 101, 10))


def test_a_picture_that_fails_loses_no_run(marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr("matplotlib.backends.backend_agg.FigureCanvasAgg.draw", broken)
    outcome = marl("train", *SMALL, "hydra.run.dir=run")
    assert outcome.code == 0
    assert "could not be drawn: RuntimeError: no ink" in outcome.err
    assert (tmp_path / "run" / "summary.json").exists()


def test_the_rate_depends_on_no_spacing(marl: Marl, tmp_path: Path) -> None:
    """A log interval that straddles checkpoints must not be divided by the time since the last of them."""

    assert marl("train", *RUN, "steps=600", "log_every=100", "checkpoint.every=99", "hydra.run.dir=run").code == 0
    with np.load(tmp_path / "run" / "metrics.npz") as metrics:
        rates = metrics["perf/env_steps_per_second"]
    assert rates.max() < 10 * np.median(rates)


def test_two_runs_do_not_share_a_directory(marl: Marl, tmp_path: Path) -> None:
    with RunDirectory(tmp_path / "run").locked():
        outcome = marl("train", *SMALL, "hydra.run.dir=run")
    assert outcome.code == 2
    assert "another run is at work in" in outcome.err
    assert list((tmp_path / "run").iterdir()) == []
    assert marl("train", *SMALL, "hydra.run.dir=run").code == 0


def test_the_rest_of_a_killed_save_is_swept(marl: Marl, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".checkpoint.pt.4711").write_bytes(b"half")
    assert marl("train", *SMALL, "hydra.run.dir=run").code == 0
    assert not (tmp_path / "run" / ".checkpoint.pt.4711").exists()
