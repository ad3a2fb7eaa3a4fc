"""What `marl certify` and `marl decay` look at: the environment and policy of a configuration or of a finished run."""

import os
from functools import partial
from pathlib import Path
from typing import IO, Any

from marl import build
from marl.cli.train import compose
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.files import write_atomically
from marl.core.policy import Policy
from marl.run import load_policy


def subject(command: str, arguments: list[str]) -> tuple[dict[str, Any], Environment, Policy, str]:
    """(settings, environment, policy, what to call them). Arguments: [RUN_DIR] [--config-dir DIR] [KEY=VALUE ...]."""
    overrides, directories, run = [], [], None
    remaining = list(arguments)
    while remaining:
        argument = remaining.pop(0)
        if argument in ("--config-dir", "-cd"):
            if not remaining:
                raise ConfigError(f"{argument} needs a directory after it")
            directories.append(f"file://{os.path.abspath(remaining.pop(0))}")
        elif argument.startswith("-"):
            raise ConfigError(f"there is no option {argument!r}; marl {command} --help shows what there is")
        elif "=" not in argument and run is None:
            run = Path(argument)
        else:
            overrides.append(argument)
    if directories:
        overrides.append(f"hydra.searchpath=[{','.join(directories)}]")
    settings = compose(overrides, command)
    parts = [text for text in overrides if text.lstrip("+").partition("=")[0].partition(".")[0] in ("env", "policy")]
    if run is None:
        env = build.environment(settings)
        policy = build.policy({**settings, "dtype": "float64", "replicas": 1}, env)
        return settings, env, policy, " ".join(parts) or "default settings"
    if parts:
        raise ConfigError(f"{run} is a run and has its own environment and policy, which {parts[0]} cannot change")
    _, env, policy = load_policy(run)
    return settings, env, policy, f"the policy of {run} (replica 0)"


def written(directory: str, files: dict[str, bytes]) -> list[str]:
    """Writes every file into the directory, each whole or not at all; the paths."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        write_atomically(folder / name, partial(_write, content))
    return [str(folder / name) for name in files]


def _write(content: bytes, file: IO[bytes]) -> None:
    file.write(content)
