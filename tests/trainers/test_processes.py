"""What goes to another process: trainers as copies, forked ones at work, and torch's number of threads as it was."""

import multiprocessing
import pickle
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from marl import (
    ConfigError,
    Constant,
    RolloutActorCritic,
    TabularSoftmax,
    WirelessAccess,
    evaluate,
)
from marl.exact import AverageValues, Chain
from marl.loggers import ArrayLogger, ProgressLogger, TensorBoardLogger
from marl.trainers.trainer import Trainer
from tests.trainers.test_snapshots import STEPS, TRAINERS, leaves, moved, scalable


def sent(part: Any) -> Any:
    """What `multiprocessing` makes of it on the way to a process (but for forked ones, which have everything)."""
    return pickle.loads(ForkingPickler.dumps(part))


@pytest.mark.parametrize("name", TRAINERS)
def test_a_trainer_that_is_sent_goes_on_alone(name: str, small: WirelessAccess) -> None:
    """It arrives whole, learns the same, and the one that was sent is neither taught by it nor in its way."""
    run = TRAINERS[name](small)
    run.run(25)
    before = run.state_dict()
    there = sent(run)
    there.run(26)
    assert moved(leaves(before), leaves(run.state_dict())) == []
    run.run(26)
    assert moved(leaves(run.state_dict()), leaves(there.state_dict())) == []


def test_parts_may_be_sent_while_their_trainer_goes_on(small: WirelessAccess) -> None:
    """Torch moves the memory of tensors that are sent: compiled loops must not look where it was."""
    run: Any = scalable(small, storage="dense")
    alone = scalable(small, storage="dense")
    for trainer in (run, alone):
        trainer.run(25)
    packed = [ForkingPickler.dumps(part) for part in (small, run.policy, run.critic)]
    filler = [torch.full((100, 100), 1e9) for _ in range(50)]
    run.run(26)
    alone.run(26)
    assert moved(leaves(alone.state_dict()), leaves(run.state_dict())) == []
    del packed, filler


def test_loggers_travel_along(tmp_path: Path, small: WirelessAccess, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is open stays; the copy has one of its own. A bar stays; the copy shows lines."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    board = TensorBoardLogger(tmp_path, env=small, config={}, picture=False)
    run = scalable(small, loggers=[ArrayLogger(), board, ProgressLogger(100)])
    run.run(40)
    there = sent(run)
    there.run(40)
    assert [logger.arrays()["step"].tolist() for logger in (there.loggers[0], run.loggers[0])] == [
        [20, 40, 60, 80],
        [20, 40],
    ]
    for logger in (*run.loggers, *there.loggers):
        logger.close()
    assert len(list(tmp_path.glob("events*"))) == 2


def test_what_cannot_travel_is_refused_in_a_sentence(small: WirelessAccess) -> None:
    class Local(Constant):
        pass

    given = {**STEPS, "critic_scheduler": Local(0.1)}
    run = RolloutActorCritic(small, TabularSoftmax(small), TRAINERS["rollouts"](small).critic, **given)  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"this RolloutActorCritic cannot go to another process: .*Local"):
        sent(run)


def _work(pipe: Connection, runs: list[Trainer]) -> None:
    told: list[Any] = [torch.get_num_threads()]
    for run in runs:
        run.run(26)
        told.append(float(run.total_reward[0]))
    env = WirelessAccess(rows=1, cols=3, access_points="corners", arrival=0.5, success=0.5)
    policy = TabularSoftmax(env, replicas=4)
    told.append(evaluate(env, policy, steps=40).average_reward.tolist())
    told.append(AverageValues(Chain(env, policy, method="dense")).J.tolist())
    pipe.send(told)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_is_forked_after_training_works(small: WirelessAccess, cores: int) -> None:
    """OpenMP's threads are gone there, and nobody waits for them: torch does not, nor compiled loops over replicas."""
    context = multiprocessing.get_context("fork")
    runs = [TRAINERS[name](small) for name in ("fused dense", "autograd", "rollouts")]
    torch.set_num_threads(2)
    torch.log_softmax(torch.zeros(2000, 50), dim=1)  # starts them
    here, there = context.Pipe()
    child = context.Process(target=_work, args=(there, runs))
    child.start()
    arrived = here.poll(30)
    kept = torch.get_num_threads()
    torch.set_num_threads(1)
    child.kill() if not arrived else child.join(20)
    assert arrived
    threads, *numbers = here.recv()
    assert (threads, kept) == (1, 2)
    _work(there, runs)
    mine = here.recv()[1:]
    for one, other in zip(mine, numbers, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9)
