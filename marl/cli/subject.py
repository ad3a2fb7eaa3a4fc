"""Some commands look at the environment and policy of a configuration or of a finished run."""

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch

from marl import build
from marl.cli import words
from marl.cli.search import own_directories, own_first
from marl.cli.train import compose
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.policy import Policy
from marl.runs import load_policy


class Subject(NamedTuple):
    """This is what a command looks at: checked settings, what to call it, and the run that it is of, if any."""

    settings: dict[str, Any]
    env: Environment
    policy: Policy
    name: str
    run: Path | None


def subject(command: str, arguments: list[str], checked: Callable[[dict[str, Any]], dict[str, Any]]) -> Subject:
    """Finds what is looked at; a run's policy has all its replicas, any other one unless `replicas` is set.

    Arguments: [RUN_DIR] [--config-dir DIR] [KEY=VALUE ...], with a run also trust=true. checked: checks and cleans the
    settings of conf/COMMAND.yaml, before anything is made. Errors: as everything that is asked for.
    """
    directories, others = own_directories(arguments)
    overrides: list[str] = []
    run: Path | None = None
    for word in others:
        if word.startswith("-"):
            raise ConfigError(f"there is no option {word!r}; marl {command} --help shows what there is")
        if run is None and _is_run(word):
            run = Path(word)
        else:
            overrides.append(word)
    trust, overrides = words.trusted(overrides)
    if trust and run is None:
        raise ConfigError("trust=true is for a RUN_DIR: what you name yourself is not asked about")
    if trust or run is None:
        words.look_here()
    parts = [text for text in overrides if names_part(text)]
    if run is not None and parts and (run / "checkpoint.pt").is_file():
        raise ConfigError(f"{run} is a run and has its own environment and policy, which {parts[0]} cannot change")
    with own_first(directories):
        settings = checked(compose([text for text in overrides if run is None or text not in parts], command))
    if run is not None:
        policy = load_policy(run, trust=trust)
        return Subject(settings, policy.env, policy, f"the policy of {run}", run)
    env = build.environment(settings)
    policy = build.policy(settings, env, build.Replicas(settings.get("replicas", 1), settings["seed"], torch.float64))
    return Subject(settings, env, policy, " ".join(parts) or "default settings", None)


def names_part(override: str) -> bool:
    """Says whether an override is of the environment or the policy."""
    return override.lstrip("+~").partition("=")[0].partition(".")[0] in ("env", "policy")


def check_writable(directory: Any) -> None:
    """Tries it before a long computation and takes back what it made. Errors: `ConfigError`."""
    if not isinstance(directory, str) or not directory:
        raise ConfigError(f"out must be a directory, got {directory!r}")
    folder = Path(directory)
    made = [path for path in (folder, *folder.parents) if not os.path.lexists(path)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        raise ConfigError(f"out={directory} cannot be written to: {getattr(error, 'strerror', None) or error}") from None
    finally:
        for path in made:
            with contextlib.suppress(OSError, ValueError):
                path.rmdir()


def _is_run(argument: str) -> bool:
    """Says whether it means a directory, not KEY=VALUE: those of runs have equal signs in their names."""
    key, equals, _ = argument.partition("=")
    if "/" in key:
        return not key.lstrip("+~").startswith("hydra/")
    return not equals or ("/" in argument and os.path.isdir(argument))  # seed=0 is a setting, ./seed=0 a directory
