"""The rules of an environment are those among the files of the group `policy`, one's own included, that are made for it."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf

from marl import build
from marl.cli.help import conf_dir
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.policy import Policy
from marl.core.rule import Rule
from marl.targets import locate

Settings = list[dict[str, Any]]


class Candidate(NamedTuple):
    """This is a rule of an environment: its name, its settings, and what makes a policy with one replica for each.

    There is one setting, or one for each of the values among which people take the best (`Rule.choices`).
    """

    name: str
    settings: Settings
    make: Callable[[Settings], Policy]


def rules_of(env: Environment) -> Iterator[Candidate]:
    """Lists every rule that is for the class of `env`."""
    for name, node in _nodes():
        try:
            kind = locate("policy", node.get("_target_"), (Policy,))
        except ConfigError:  # a file of one's own with a slip is nothing to stop for
            continue
        if not (isinstance(kind, type) and issubclass(kind, Rule) and isinstance(env, kind.system)):
            continue
        settings: Settings = [{}]
        for key, values in kind.choices(env).items():
            settings = [{**chosen, key: value} for chosen in settings for value in values]
        yield Candidate(name, settings, partial(_made, env, node))


def _made(env: Environment, node: dict[str, Any], settings: Settings) -> Policy:
    listed = {key: [chosen[key] for chosen in settings] for key in settings[0]}
    given = {"replicas": len(settings), "seed": 0, "dtype": torch.float64}
    rule: Policy = build.instantiate("policy", {**node, **listed}, Policy, env=env, **given)
    return rule


def _nodes() -> list[tuple[str, dict[str, Any]]]:
    """Reads the files of the group, in the order of their names; only what is made of others is composed, which is slow."""
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        loader: Any = GlobalHydra.instance().config_loader()
        found: list[tuple[str, Any]] = []
        for name in sorted(loader.get_group_options("policy")):
            try:
                loaded = loader.repository.load_config(f"policy/{name}")
                plain = loaded is not None and "_target_" in loaded.config
                node = loaded.config if plain else compose(f"policy/{name}").get("policy")
                found.append((name, OmegaConf.to_container(node, resolve=True)))
            except Exception as error:  # hydra, omegaconf and yaml have many
                raise ConfigError(f"policy/{name}.yaml cannot be read: {' '.join(str(error).split())}") from None
    return [(name, node) for name, node in found if isinstance(node, dict)]
