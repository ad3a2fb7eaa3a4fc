"""Configuration -> objects: the one place that knows the order of construction."""

import functools
import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import torch

from marl.core.checks import choice, integer
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.policy import Policy
from marl.core.scheduler import Scheduler
from marl.core.trainer import Trainer

Config = Mapping[str, Any]

PARTS = ("env", "policy", "critic", "critic_scheduler", "actor_scheduler", "trainer", "logger")
SETTINGS = ("steps", "replicas", "seed", "dtype", "log_every", "threads", "eval", "checkpoint", "resume", "force")


def check_keys(config: Config) -> None:
    """Errors: `ConfigError` if a top-level key is unknown or missing."""
    for key in config:
        if key not in PARTS + SETTINGS:
            raise ConfigError(f"there is no key {key!r}; there are: {', '.join(PARTS + SETTINGS)}")
    for key in PARTS + SETTINGS:
        if key not in config:
            raise ConfigError(f"the configuration lacks {key!r}")


def environment(config: Config) -> Environment:
    """The environment of `config["env"]`."""
    return instantiate("env", config["env"])


def policy(config: Config, env: Environment) -> Policy:
    """The policy of `config["policy"]`, untrained."""
    return instantiate("policy", config["policy"], env=env, **_replicated(config))


def trainer(config: Config, env: Environment, log_every: int) -> Trainer:
    """The trainer with its policy, critic and schedulers, at step 0 and without loggers."""
    alpha, eta = step_sizes(config)
    parts = {
        "policy": policy(config, env),
        "critic": instantiate("critic", config["critic"], env=env, **_replicated(config)),
        "critic_scheduler": alpha,
        "actor_scheduler": eta,
    }
    return instantiate("trainer", config["trainer"], env=env, seed=config["seed"], log_every=log_every, **parts)


def step_sizes(config: Config) -> tuple[Scheduler, Scheduler]:
    """(alpha, eta): the schedulers of critic and actor."""
    keys = ("critic_scheduler", "actor_scheduler")
    alpha, eta = (instantiate(key, config[key]) for key in keys)
    return alpha, eta


def instantiate(key: str, node: Config, **given: Any) -> Any:
    """The object that `node` describes: `_target_` names a class, the other keys are its arguments.

    Nodes inside are built first; `_partial_: true` gives a function that still wants arguments.
    Errors: `ConfigError` that names `key`, if the class cannot be found or does not take the arguments.
    """
    if not isinstance(node, Mapping) or not node.get("_target_"):
        raise ConfigError(f"{key} needs a _target_ that names a class, got {node!r}")
    arguments = {
        name: instantiate(f"{key}.{name}", value) if isinstance(value, Mapping) and "_target_" in value else value
        for name, value in node.items()
        if name not in ("_target_", "_partial_")
    }
    target = _locate(key, node["_target_"])
    if node.get("_partial_", False):
        return functools.partial(target, **arguments)
    try:
        inspect.signature(target).bind(**arguments, **given)
    except TypeError as error:
        raise ConfigError(f"{key} ({node['_target_']}): {error}") from None
    return target(**arguments, **given)


def _replicated(config: Config) -> dict[str, Any]:
    dtype = choice("dtype", config["dtype"], ("float64", "float32"))
    return {
        "replicas": integer("replicas", config["replicas"], 1),
        "seed": integer("seed", config["seed"], 0),
        "dtype": getattr(torch, dtype),
    }


def _locate(key: str, path: str) -> Any:
    module, _, name = str(path).rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{key}._target_={path} cannot be found: {error}") from None
