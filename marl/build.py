"""This module turns a configuration into objects: it is the one place that knows the order of construction."""

import functools
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from marl.core.checks import choice, integer
from marl.core.critic import Critic
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.logger import Logger
from marl.core.objective import Differential
from marl.core.policy import Policy
from marl.core.scheduler import Scheduler
from marl.targets import INSIDE, locate
from marl.trainers.trainer import Trainer

Config = Mapping[str, Any]

PARTS = ("env", "policy", "critic", "critic_scheduler", "actor_scheduler", "trainer", "logger", "callback")
MAX_COPIES = 2**28
"""Largest replicas x agents."""


@dataclass(frozen=True)
class Replicas:
    """These are the runs that go side by side: how many, the seed of the first, and the precision of what they learn."""

    count: int
    seed: int
    dtype: torch.dtype


def replicas(config: Config) -> Replicas:
    """Reads `replicas`, `seed` and `dtype`. Errors: `ConfigError`."""
    dtype = choice("dtype", config["dtype"], ("float64", "float32"))
    count, seed = integer("replicas", config["replicas"], 1), integer("seed", config["seed"], 0)
    return Replicas(count, seed, getattr(torch, dtype))


def environment(config: Config) -> Environment:
    """Makes the environment of `config["env"]`."""
    return instantiate("env", config["env"], Environment)


def policy(config: Config, env: Environment, replicas: Replicas) -> Policy:
    """Makes the policy of `config["policy"]`, untrained."""
    return instantiate("policy", config["policy"], Policy, env=env, **_arguments(replicas, env))


def trainer(config: Config, env: Environment, replicas: Replicas, log_every: int) -> Trainer:
    """Makes the trainer with its policy, critic and schedulers, at step 0 and without loggers."""
    alpha, eta = step_sizes(config)
    parts = {
        "policy": policy(config, env, replicas),
        "critic": instantiate("critic", config["critic"], Critic, env=env, **_arguments(replicas, env)),
        "critic_scheduler": alpha,
        "actor_scheduler": eta,
    }
    given = {"env": env, "seed": replicas.seed, "log_every": log_every, **parts}
    return instantiate("trainer", config["trainer"], Trainer, **given)


def step_sizes(config: Config) -> tuple[Scheduler, Scheduler]:
    """Makes (alpha, eta), the schedulers of critic and actor."""
    keys = ("critic_scheduler", "actor_scheduler")
    alpha, eta = (instantiate(key, config[key], Scheduler) for key in keys)
    return alpha, eta


def logger(
    config: Config, env: Environment, directory: Path, start: int, references: Mapping[str, float] | None = None
) -> list[Logger]:
    """Makes the logger of `config["logger"]` for the event files in `directory`, or none.

    references: name -> value of what a curve is to be seen beside; a logger of one's own need not take any.
    """
    if isinstance(config["logger"], Mapping) and config["logger"].get("_target_") is None:
        return []
    purge_step = start or None  # from `start` on: an evaluation at the end stands at it
    given = {"directory": directory, "env": env, "config": config, "purge_step": purge_step}
    if references:
        given["references"] = references
    return [instantiate("logger", config["logger"], Logger, **given)]


def observed(config: Config, trainer: Trainer, loggers: list[Logger]) -> list[Logger]:
    """Puts the loggers behind the callback of `config["callback"]`, or leaves them as they are if there is none."""
    if isinstance(config["callback"], Mapping) and config["callback"].get("_target_") is None:
        return loggers
    critic = getattr(trainer, "critic", None)
    kappa = None
    if isinstance(critic, Critic) and critic.table is not None and isinstance(critic.objective, Differential):
        kappa = critic.kappa  # Theorem 2 is about such critics
    given = {"env": trainer.env, "policy": trainer.policy, "critic_kappa": kappa, "loggers": loggers}
    return [instantiate("callback", config["callback"], Logger, **given)]


def instantiate(key: str, node: Config, kind: type[Any] | None, **given: Any) -> Any:
    """Makes the object that `node` describes: `_target_` names a class of `kind`, the other keys are its arguments.

    kind: None for what is an argument of another object, which may be of any kind in `marl.targets.INSIDE`. Nodes inside
    are built first, after the names of arguments were checked; there `_partial_: true` gives a function that still wants
    arguments.
    Errors: `ConfigError` that names `key`, if the class cannot be found, is of another kind or does not take the arguments.
    """
    if not isinstance(node, Mapping) or not node.get("_target_"):
        raise ConfigError(f"{key} needs a _target_ that names a class, got {node!r}")
    target = locate(key, node["_target_"], INSIDE if kind is None else (kind,))
    arguments = {name: value for name, value in node.items() if name not in ("_target_", "_partial_")}
    partial = node.get("_partial_", False)
    if partial and kind is not None:
        raise ConfigError(f"{key}._partial_ is for arguments of a part; remove it")
    try:
        signature = inspect.signature(target)
        (signature.bind_partial if partial else signature.bind)(**arguments, **given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key} ({node['_target_']}): {error}") from None
    for name, value in arguments.items():
        if isinstance(value, Mapping) and "_target_" in value:
            arguments[name] = instantiate(f"{key}.{name}", value, None)
    if partial:
        return functools.partial(target, **arguments)
    try:
        made = target(**arguments, **given)
    except ConfigError as error:
        if key in str(error):
            raise
        raise type(error)(f"{key}: {error}") from None
    except TypeError as error:  # arguments that a class hands on to its base are refused there
        if "unexpected keyword argument" not in str(error):
            raise
        raise ConfigError(f"{key} ({node['_target_']}): {error}") from None
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "memory" not in str(error):
            raise
        raise ConfigError(f"{key} needs more memory than there is: {' '.join(str(error).split())}") from None
    if kind is not None and not isinstance(made, kind):
        raise ConfigError(f"{key}._target_={node['_target_']} makes no {kind.__name__}")
    return made


def _arguments(replicas: Replicas, env: Environment) -> dict[str, Any]:
    """Gives the arguments of every part that learns. Errors: `ConfigError` if they are too many to hold."""
    count = replicas.count
    if count * env.n > MAX_COPIES:
        raise ConfigError(f"replicas={count} of {env.n} agents are too many to hold; at most {MAX_COPIES // env.n}")
    return {"replicas": count, "seed": replicas.seed, "dtype": replicas.dtype}
