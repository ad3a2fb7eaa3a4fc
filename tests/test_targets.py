"""A target of another kind than the one that is wanted is never called, wherever it stands; the right ones are."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from marl import Coloring, build
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.logger import Logger
from marl.core.policy import Policy
from marl.core.scheduler import Scheduler
from marl.targets import refuse_strangers
from marl.trainers import optimizers
from marl.trainers.trainer import Trainer

CALLS: list[dict[str, Any]] = [
    {"_target_": "os.system", "command": "touch ran"},
    {"_target_": "os.mkdir", "path": "ran"},
    {"_target_": "subprocess.Popen", "args": ["touch", "ran"]},
    {"_target_": "io.FileIO", "file": "ran", "mode": "w"},
    {"_target_": "pathlib.os.mkdir", "path": "ran"},
    {"_target_": "tests.test_targets.harmful", "path": "ran"},
    {"_target_": "tests.test_targets.Harmful", "path": "ran"},
    {"_target_": "marl.runs.load_policy", "directory": "ran"},
    {"_target_": "marl.runs.directory.RunDirectory", "path": "ran"},
]
SLOTS = {"env": Environment, "policy": Policy, "critic_scheduler": Scheduler, "trainer": Trainer, "callback": Logger}


def harmful(path: str) -> None:
    """Stands for any function of anybody."""
    os.mkdir(path)


class Harmful:
    """Stands for any class of anybody."""

    def __init__(self, path: str):
        os.mkdir(path)


class Heat(torch.nn.Module):
    """This is an argument of the environment below."""


class Warm(Coloring):
    """This is an environment of a user's own."""

    def __init__(self, heat: Heat, **arguments: Any):
        super().__init__(**arguments)
        self.heat = heat


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("node", CALLS, ids=[node["_target_"] for node in CALLS])
def test_nothing_of_another_kind_is_called(tmp_path: Path, node: dict[str, Any]) -> None:
    for key, kind in SLOTS.items():
        with pytest.raises(ConfigError, match=rf"^{key}\._target_="):
            build.instantiate(key, node, kind)
    for inside in (node, {**node, "_partial_": True}):
        with pytest.raises(ConfigError, match=r"^env\.graph\._target_="):
            build.environment({"env": {"_target_": "marl.envs.random_local_mdp", "graph": inside}})
        oven = {"_target_": "tests.test_targets.Oven", "inner": inside}
        with pytest.raises(ConfigError, match=r"^env\.heat\.inner\._target_="):
            build.environment({"env": {"_target_": "tests.test_targets.Warm", "heat": oven}})
    assert list(tmp_path.iterdir()) == []


class Oven(torch.nn.Module):
    """This is an argument that has one itself."""

    def __init__(self, inner: Any):
        super().__init__()
        self.inner = inner


def test_arguments_are_not_made_for_a_part_that_has_no_such(tmp_path: Path) -> None:
    board = {"_target_": "marl.loggers.TensorBoardLogger", "directory": "ran", "env": None, "config": {}}
    for name in ("graph", "no_such"):
        with pytest.raises(ConfigError, match=name):
            build.environment({"env": {"_target_": "marl.envs.random_local_mdp", name: board}})
    assert list(tmp_path.iterdir()) == []


def test_what_a_part_is_made_of_is_made() -> None:
    made = {"_target_": "marl.envs.local_mdp_from_file", "path": "tables.npz"}
    drawn = build.environment({"env": {"_target_": "marl.envs.local_mdp.random_local_mdp", "graph": "line:3"}})
    drawn.save("tables.npz")  # type: ignore[attr-defined]
    assert build.environment({"env": made}).n == 3
    heat = {"_target_": "tests.test_targets.Heat"}
    own = build.environment({"env": {"_target_": "tests.test_targets.Warm", "heat": heat, "graph": "line:4", "colors": 3}})
    assert isinstance(own, Warm)
    assert isinstance(own.heat, Heat)
    half = build.instantiate("trainer.critic_optimizer", {"_target_": "torch.optim.Adam", "_partial_": True}, None)
    assert isinstance(half([torch.nn.Parameter(torch.ones(1))], lr=0.1), torch.optim.Adam)


def test_a_part_itself_is_no_function_that_waits() -> None:
    with pytest.raises(ConfigError, match=r"env\._partial_"):
        build.environment({"env": {"_target_": "marl.envs.local_mdp.random_local_mdp", "_partial_": True}})


@pytest.mark.parametrize("name", ["tests.test_targets.Heat", "torch.nn.Linear"])
def test_an_optimizer_is_one_before_it_is_called(name: str) -> None:
    maker = build.instantiate("trainer.actor_optimizer", {"_target_": name, "_partial_": True}, None)
    with pytest.raises(ConfigError, match=r"trainer\.actor_optimizer must make a torch optimizer, got"):
        optimizers.make("actor", maker, [], 0.1)


@pytest.mark.parametrize(
    "config",
    [
        {"env": {"_target_": "marlin.Env"}},
        {"env": {"_target_": "torch.optimum.SGD"}},
        {"env": {"_target_": "torch.hub.load"}},
        {"env": {"_target_": "marl.Coloring", "graph": {"_target_": "mine.Graph"}}},
        {"env": {"_target_": "marl.Coloring", "graph": [1, [{"deep": {"_target_": "mine.Graph"}}]]}},
        {"env": {"_target_": ["os"]}},
    ],
)
def test_strangers_are_found(config: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"outside the library.*say please"):
        refuse_strangers(config, "run", "please")


def test_the_library_and_torch_are_no_strangers() -> None:
    names = ("marl.Coloring", "torch.optim.Adam", "torch.nn.Linear", "torch.optim.adamw.AdamW", None)
    refuse_strangers([{"_target_": name} for name in names], "run", "please")
