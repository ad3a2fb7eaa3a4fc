"""The same command gives the same numbers, in one go or in pieces, and is not run twice."""

from pathlib import Path

import numpy as np
import pytest

from marl.core.environment import Environment
from tests.cli.command import SMALL, Marl, assert_same_numbers, contents, metrics_of, state_of, summary_of

QUICK = (*SMALL, "logger=none")

VARIANTS = {
    "dense": ("critic.storage=dense", "critic.kappa=1"),
    "hash": ("critic.storage=hash", "critic.kappa=1"),
    "neural": ("critic=neural", "critic.kappa=1", "policy=neural"),
    "rescaled": ("trainer.rescale=true", "actor_scheduler=power_law", "critic_scheduler=power_law"),
    "adam": (
        "critic=neural",
        "actor_scheduler=restarting",
        "trainer.critic_optimizer._target_=torch.optim.Adam",
        "trainer.actor_optimizer._target_=torch.optim.Adam",
    ),
    "float32": ("dtype=float32",),
    "autograd": ("trainer.engine=autograd", "critic.kappa=1"),
    "discounted": ("trainer.discount=0.9", "trainer.engine=autograd"),
    "discounted-fused": ("trainer.discount=0.9", "trainer.engine=fused", "critic.kappa=1"),
    "episodes": ("trainer=discounted_actor_critic", "trainer.engine=fused", "critic.kappa=1", "critic.storage=hash"),
    "episodes-autograd": ("trainer=discounted_actor_critic", "trainer.engine=autograd", "critic.kappa=1"),
    "rollouts": (
        "trainer=rollout_actor_critic",
        "critic=neural",
        "trainer.rollout=6",
        "trainer.trace_decay=0.8",
    ),
    "ppo": ("trainer=kappa_hop_ppo", "critic.kappa=1", "trainer.rollout=12", "trainer.epochs=2", "trainer.minibatches=3"),
    "pairwise": (
        "experiment=pairwise",
        "trainer.rollout=6",
        *(f"{part}.steps=100" for part in ("trainer.entropy", "critic_scheduler", "actor_scheduler")),
    ),
}


def test_the_same_seed(marl: Marl, tmp_path: Path) -> None:
    for name in ("run", "again"):
        assert marl("train", *QUICK, "replicas=2", "eval.steps=100", f"hydra.run.dir={name}").code == 0
    assert_same_numbers(tmp_path / "run", tmp_path / "again")
    evaluated = [summary_of(tmp_path / name)["eval_average_reward"] for name in ("run", "again")]
    assert evaluated[0] == evaluated[1]


def test_another_seed(marl: Marl, tmp_path: Path) -> None:
    """Other numbers, except that replica 1 of seed 5 is the only one of seed 6."""
    assert marl("train", *QUICK, "replicas=2", "seed=5", "hydra.run.dir=run").code == 0
    assert marl("train", *QUICK, "seed=6", "hydra.run.dir=other").code == 0
    pair, one = (metrics_of(tmp_path / name)["train/average_reward"] for name in ("run", "other"))
    assert (pair[:, 0] != one[:, 0]).any()
    assert np.array_equal(pair[:, 1], one[:, 0])


@pytest.mark.parametrize("replicas", [pytest.param(1, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_run_is_an_uninterrupted_one(marl: Marl, tmp_path: Path, variant: str, replicas: int) -> None:
    """7 and 33 divide neither each other nor 40 and 80: log points, checkpoints and the break all fall apart."""
    settings = [*VARIANTS[variant], f"replicas={replicas}", "log_every=7", "checkpoint.every=33"]
    assert marl("train", *QUICK, *settings, "steps=80", "hydra.run.dir=whole").code == 0
    assert marl("train", *QUICK, *settings, "hydra.run.dir=run").code == 0
    assert state_of(tmp_path / "run")["/trainer/t"] == 40
    assert marl("train", "resume=run", "steps=80").code == 0
    assert_same_numbers(tmp_path / "run", tmp_path / "whole")
    assert summary_of(tmp_path / "run")["average_reward"] == summary_of(tmp_path / "whole")["average_reward"]


def test_resuming_twice_and_by_default_log_points(marl: Marl, tmp_path: Path) -> None:
    """log_every=null means steps / 200 of the first run; going on keeps its rhythm, so rows stay evenly spaced."""
    assert marl("train", *QUICK, "steps=400", "hydra.run.dir=run").code == 0
    for steps in (500, 1000):
        assert marl("train", "resume=run", f"steps={steps}").code == 0
    assert metrics_of(tmp_path / "run")["step"].tolist() == list(range(2, 1001, 2))


@pytest.mark.parametrize("logger", ["none", "tensorboard"])
def test_a_finished_run_is_skipped_and_force_redoes_it(
    marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logger: str
) -> None:
    command = ("train", *SMALL, f"logger={logger}", "hydra.run.dir=run")
    first = marl(*command)
    before = contents(tmp_path, ignore="train.log")  # the log says that there was nothing to do
    with monkeypatch.context() as patch:
        patch.delattr(Environment, "step")
        again = marl(*command)
    assert (again.code, again.out) == (0, first.out)
    assert "force=true" in again.err
    assert contents(tmp_path, ignore="train.log") == before
    (tmp_path / "run" / "metrics.npz").write_bytes(b"old")
    assert marl(*command, "force=true").code == 0
    assert len(metrics_of(tmp_path / "run")["step"]) == 40
    assert len(list((tmp_path / "run").glob("tb/*"))) == (logger == "tensorboard")
