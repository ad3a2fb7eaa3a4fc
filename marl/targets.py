"""A `_target_` is a name from a file. What it may name is decided here, before anything of that name is called."""

import importlib
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn
from torch.optim import Optimizer

from marl.core.critic import Critic
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.core.policy import Policy
from marl.core.scheduler import Scheduler

INSIDE: tuple[type[Any], ...] = (Environment, Network, Policy, Critic, Scheduler, Optimizer, nn.Module)
"""What an argument of a part may be: nothing of it does more than compute."""
MAKERS = {
    "marl.envs.local_mdp.env.local_mdp_from_file": Environment,
    "marl.envs.local_mdp.random_instance.random_local_mdp": Environment,
}
"""The library's functions that make a part; any other target is a class."""
KNOWN = ("marl", "torch.optim", "torch.nn")
"""Packages that a saved configuration may name without being trusted."""


def locate(key: str, path: Any, kinds: tuple[type[Any], ...]) -> Any:
    """Finds the class of one of `kinds`, or the maker of one, that `path` names.

    Errors: `ConfigError` if there is none of that name, or what has the name is anything else: it is not called then.
    """
    module, _, name = str(path).rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError, TypeError, RuntimeError) as error:
        without = "; logger=none runs without it" if key == "logger" else ""
        raise ConfigError(f"{key}._target_={path} cannot be found: {error}{without}") from None
    makes = found if isinstance(found, type) else MAKERS.get(f"{_of(found, '__module__')}.{_of(found, '__qualname__')}")
    if makes is None or not issubclass(makes, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise ConfigError(f"{key}._target_={path} makes no {wanted}; name a class that is derived from it")
    return found


def refuse_strangers(config: Any, where: str, consent: str) -> None:
    """Errors: `ConfigError` if a target anywhere in `config`, which was read from `where`, is outside the library.

    consent: how to say that whoever wrote it is trusted.
    """
    for target in _targets(config):
        if not f"{target}.".startswith(tuple(f"{package}." for package in KNOWN)):
            raise ConfigError(
                f"{where} names {target}, which is outside the library: evaluating or continuing it runs that code; "
                f"if you trust whoever wrote the run, say {consent} (docs/security.md)"
            )


def _targets(node: Any) -> Iterator[Any]:
    """Finds every target in a configuration, however deep."""
    if isinstance(node, Mapping):
        if node.get("_target_") is not None:
            yield node["_target_"]
        for value in node.values():
            yield from _targets(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from _targets(value)


def _of(found: Any, name: str) -> Any:
    return getattr(found, name, None)
