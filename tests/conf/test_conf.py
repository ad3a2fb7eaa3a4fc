"""Every yaml composes, builds what it names, and says the same as the class it mirrors."""

import copy
import functools
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

from marl import build
from marl.cli.help import conf_dir
from marl.cli.train import compose
from marl.core.critic import Critic
from marl.core.environment import Environment
from marl.core.policy import Policy
from marl.core.rule import Rule
from marl.core.scheduler import Scheduler
from marl.envs import random_local_mdp
from marl.runs import train
from marl.runs.settings import KEYS, LATER
from marl.trainers.trainer import Trainer

CONF = conf_dir()
OPTIONS = sorted((path.parent.name, path.stem) for part in build.PARTS for path in (CONF / part).glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
BASES = {"envs": Environment, "policies": Policy, "critics": Critic, "schedulers": Scheduler, "trainers": Trainer}

GIVEN = {"env", "policy", "critic", "critic_scheduler", "actor_scheduler", "replicas", "seed", "dtype", "log_every"}
GIVEN |= {"loggers", "directory", "config", "purge_step", "critic_kappa", "references"}
"""Arguments that `marl.build` and `marl.runs` hand in; every other one is the yaml's."""


FIXED = {"independent_ppo": {"credit"}, **{key: {"count"} for key in ("state_value", "graph_state_value", "graph")}}
FIXED["discounted_actor_critic"] = {"centering"}
"""Arguments of a base that a class gives it itself, or that have but one value there."""

NEEDED = {"local_mdp": ["env.path=tables.npz"], "state_value": ["trainer=independent_ppo"]}
NEEDED |= {f"{kind}_state_value": ["trainer=kappa_hop_ppo"] for kind in ("neural", "graph")}
NEEDED |= {"fixed_time": ["env=traffic", "env.elapsed=4"]}
SMALL = {"wireless": ["env.rows=2", "env.cols=3"]}
"""Overrides of an option: what it cannot be composed or trained without, and what makes it quick to build."""


@functools.cache
def composed(*overrides: str) -> dict[str, Any]:
    """Composed once, for a fifth of a second."""
    return compose([*overrides])


def node_of(group: str, option: str) -> dict[str, Any]:
    return copy.deepcopy(composed(f"{group}={option}", *NEEDED.get(option, []))[group])


def located(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def system_of(group: str, option: str) -> str:
    """The environment that an option is tried with: itself, that of a rule, or else the wireless network."""
    if group == "env":
        return option
    target = located(node_of(group, option)["_target_"]) if group == "policy" else None
    if not (inspect.isclass(target) and issubclass(target, Rule)):
        return "wireless"
    environments = [name for part, name in OPTIONS if part == "env"]
    (system,) = [name for name in environments if located(node_of("env", name)["_target_"]) is target.system]
    return system


def test_every_group_is_looked_at() -> None:
    assert {group for group, _ in OPTIONS} == set(build.PARTS)
    assert EXPERIMENTS
    assert set(compose([])) == {*build.PARTS, *KEYS, *LATER}


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_builds(group: str, option: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    random_local_mdp("line:3").save("tables.npz")
    chosen = system_of(group, option)
    more = [f"env={chosen}", *NEEDED.get(chosen, []), *([] if group == "env" else NEEDED.get(option, []))]
    config = compose([f"{group}={option}", *more, *SMALL.get(chosen, [])])
    env = build.environment(config)
    trainer = build.trainer(config, env, build.replicas(config), log_every=10)
    assert isinstance(trainer, Trainer)
    trainer.run(3)
    for logger in build.logger(config, env, tmp_path, 0):
        logger.close()


def parameters_of(target: Any) -> dict[str, inspect.Parameter]:
    """Those of the constructor, and of its base's where it hands on what it does not know."""
    found: dict[str, inspect.Parameter] = {}
    for cls in getattr(target, "__mro__", (target,)):
        here = dict(inspect.signature(cls).parameters)
        handed_on = [name for name, parameter in here.items() if parameter.kind is inspect.Parameter.VAR_KEYWORD]
        found = {**{name: here[name] for name in here if name not in handed_on}, **found}
        if not handed_on:
            break
    return found


@pytest.mark.parametrize(
    ("group", "option"), [pair for pair in OPTIONS if pair[0] not in ("logger", "callback") or pair[1] != "none"]
)
def test_yaml_and_constructor_agree(group: str, option: str) -> None:
    """The same arguments, with the same defaults where the constructor has any."""
    node = node_of(group, option)
    arguments = parameters_of(located(node.pop("_target_")))
    assert set(node) == set(arguments) - GIVEN - FIXED.get(option, set())
    for name, value in node.items():
        default = arguments[name].default
        if isinstance(value, dict):
            assert default is located(value["_target_"])
        elif default is not inspect.Parameter.empty:
            assert (value, type(value)) == (default, type(default)), name


@pytest.mark.parametrize("kind", BASES)
def test_every_class_has_a_yaml(kind: str) -> None:
    """A class is named itself, or a function of the same module that says it returns one."""
    there = vars(importlib.import_module(f"marl.{kind}")).values()
    classes = {x for x in there if inspect.isclass(x) and issubclass(x, BASES[kind]) and not inspect.isabstract(x)}
    targets = [str(yaml.safe_load(path.read_text()).get("_target_")) for path in CONF.glob("*/*.yaml")]
    ours = [located(target) for target in targets if target.rpartition(".")[0] == f"marl.{kind}"]
    assert classes
    assert classes <= {made if inspect.isclass(made) else inspect.signature(made).return_annotation for made in ours}


@pytest.mark.parametrize("name", ["constant", "power_law", "restarting", "linear"])
def test_both_step_sizes_have_every_schedule(name: str) -> None:
    alpha, eta = node_of("critic_scheduler", name), node_of("actor_scheduler", name)
    assert alpha.keys() == eta.keys()
    assert alpha["_target_"] == eta["_target_"]


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_trains(experiment: str, tmp_path: Path) -> None:
    summary = train(compose([f"experiment={experiment}", "steps=20", "replicas=2", "eval.steps=20"]), tmp_path / "run")
    assert summary["status"] == "finished"
    assert len(summary["average_reward"]) == 2


@pytest.mark.parametrize("placement", ["interior", "corners"])
def test_fig5_is_the_setting_of_the_paper(placement: str) -> None:
    """25 users of deadline 2 on 5x5 cells, unknown p and q, earliest slot first, as in section 4."""
    config = compose([f"experiment=fig5_{placement}"])
    assert config["env"] == {**node_of("env", "wireless"), "access_points": placement}
    env = build.environment(config)
    assert env.n == 25
    assert env.num_states.tolist() == [4] * 25
    assert config["trainer"]["rescale"] is False
