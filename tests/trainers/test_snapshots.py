"""What `state_dict()` gave stays as it was, whatever is trained afterwards, and a checkpoint needs no copy."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import Adam

from marl import (
    CertaintyEquivalence,
    Constant,
    DiscountedActorCritic,
    KappaHopPPO,
    NeighborhoodSoftmax,
    NeighborhoodTable,
    NeuralCritic,
    RolloutActorCritic,
    ScalableActorCritic,
    SharedPolicy,
    StateValue,
    TabularCritic,
    TabularSoftmax,
    WirelessAccess,
)
from marl.core import snapshot
from marl.core.snapshot import in_place
from marl.loggers import ArrayLogger
from marl.trainers.trainer import Trainer
from tests.cli.command import SMALL, command_in

STEPS = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(0.5), "log_every": 20}


def scalable(env: WirelessAccess, **given: Any) -> Trainer:
    storage = given.pop("storage", "auto")
    critic = TabularCritic(env, kappa=1, storage=storage)
    return ScalableActorCritic(env, TabularSoftmax(env), critic, **STEPS, **given)


TRAINERS: dict[str, Callable[[WirelessAccess], Trainer]] = {
    "fused dense": lambda env: scalable(env, storage="dense"),
    "fused hash": lambda env: scalable(env, storage="hash", rescale=True),
    "autograd": lambda env: scalable(env, engine="autograd", storage="hash"),
    "episodes": lambda env: DiscountedActorCritic(env, TabularSoftmax(env), TabularCritic(env), horizon=7, **STEPS),
    "rollouts": lambda env: RolloutActorCritic(
        env, NeighborhoodSoftmax(env), NeuralCritic(env), rollout=7, critic_optimizer=Adam, **STEPS
    ),
    "ppo": lambda env: KappaHopPPO(
        env, SharedPolicy(env), StateValue(env), rollout=8, actor_optimizer=Adam, critic_optimizer=Adam, **STEPS
    ),
    "model": lambda env: CertaintyEquivalence(
        users := WirelessAccess(rows=1, cols=3, access_points="corners"),
        NeighborhoodTable(users),
        StateValue(users),
        rollout=8,
        planning=2,
        branches=2,
        horizon=3,
        prior=1.0,
        **STEPS,
    ),
}


def leaves(state: Any, name: str = "") -> dict[str, Any]:
    if isinstance(state, dict):
        return {k: v for key, part in state.items() for k, v in leaves(part, f"{name}.{key}").items()}
    if isinstance(state, (list, tuple)):
        return {k: v for key, part in enumerate(state) for k, v in leaves(part, f"{name}.{key}").items()}
    return {name: state}


def moved(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """Names what is not equal any more."""
    equal = [
        torch.equal(x, after[name]) if isinstance(x, Tensor) else x == after[name]  # one entry may be NaN in none
        for name, x in before.items()
    ]
    return [name for name, same in zip(before, equal, strict=True) if not same]


@pytest.mark.parametrize("name", TRAINERS)
def test_training_on_does_not_change_a_state(name: str, small: WirelessAccess) -> None:
    run, again = TRAINERS[name](small), TRAINERS[name](small)
    run.run(25)
    state = run.state_dict()
    kept = copy.deepcopy(leaves(state))
    run.run(26)
    assert moved(kept, leaves(run.state_dict()))
    assert moved(kept, leaves(state)) == []
    again.load_state_dict(state)
    again.run(26)
    assert moved(leaves(run.state_dict()), leaves(again.state_dict())) == []
    assert moved(kept, leaves(state)) == []


@pytest.mark.parametrize("name", TRAINERS)
def test_nor_the_states_of_parts(name: str, small: WirelessAccess) -> None:
    """Policies, critics, tables, objectives, buffers, episodes, and a module of one's own that holds some."""
    run: Any = TRAINERS[name](small)
    run.run(25)
    own = nn.ModuleDict({"actor": run.policy, "judge": run.critic})
    parts = [run.policy, run.critic, run.critic.table, run.critic.objective, own]
    parts += [
        part for part in (vars(run).get("buffer"), vars(run).get("episode"), vars(run).get("_counts")) if part is not None
    ]
    states = [part.state_dict() for part in parts if part is not None]
    kept = copy.deepcopy(leaves(states))
    run.run(26)
    assert moved(kept, leaves(states)) == []


def test_parameters_themselves_are_had_as_in_torch(small: WirelessAccess) -> None:
    policy = TabularSoftmax(small)
    assert policy.state_dict(keep_vars=True)["theta"] is policy.theta
    assert list(policy.state_dict(prefix="x.")) == ["x.theta"]
    assert not policy.state_dict()["theta"].requires_grad


def test_loggers_keep_what_was_logged() -> None:
    """... though the array is written to afterwards, and though a state goes to two loggers."""
    logger, live = ArrayLogger(), np.array([1.0, 2.0])
    logger.log(10, {"mine": live})
    state = logger.state_dict()
    other = ArrayLogger()
    other.load_state_dict(state)
    live[:] = 7.0
    other.log(20, {"mine": live})
    logger.log(20, {"mine": 0.0 * live})
    assert logger.arrays()["mine"].tolist() == [[1.0, 2.0], [0.0, 0.0]]
    assert other.arrays()["mine"].tolist() == [[1.0, 2.0], [7.0, 7.0]]
    assert state["rows"]["mine"].tolist() == [[1.0, 2.0]]


def test_a_state_in_place_is_no_copy(small: WirelessAccess) -> None:
    for storage, part in (("dense", "rows"), ("hash", "entries")):
        run: Any = scalable(small, storage=storage)
        run.run(25)
        with in_place():
            state = run.state_dict()
        (row,) = state["critic"]["table._extra_state"][part]
        assert row.data_ptr() - run.critic.table.values.data_ptr() in (0, -8)  # beside its values come the keys
        assert state["policy"]["theta"].data_ptr() == run.policy.theta.data_ptr()
        assert run.state_dict()["policy"]["theta"].data_ptr() != run.policy.theta.data_ptr()


def test_a_run_writes_its_checkpoint_without_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(state: Any) -> Any:
        raise AssertionError("a second copy of the table")

    monkeypatch.setattr(snapshot, "_copied", copied)
    with command_in(tmp_path) as marl:
        assert marl("train", *SMALL, "hydra.run.dir=run").code == 0
