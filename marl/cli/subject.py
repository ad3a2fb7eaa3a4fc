"""`marl certify` and `marl decay` look at the environment and policy of a configuration or of a finished run."""

import contextlib
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch

from marl import build
from marl.cli import words
from marl.cli.search import own_directories, own_first
from marl.cli.train import compose
from marl.core.checks import integer, number
from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.files import write_atomically
from marl.core.policy import Policy
from marl.exact.local_laws import stating_its_law
from marl.plotting import NoPictureError, decay_picture
from marl.runs import load_policy


def subject(command: str, arguments: list[str]) -> tuple[dict[str, Any], NetworkedMDP, Policy, str]:
    """Finds (checked settings, environment, policy, what to call them).

    Arguments: [RUN_DIR] [--config-dir DIR] [KEY=VALUE ...], with a run also trust=true.
    Errors: as everything that is asked for; `ConfigError` if nothing could be written to `out`, which is left as it is.
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
    parts = [text for text in overrides if text.lstrip("+~").partition("=")[0].partition(".")[0] in ("env", "policy")]
    if run is not None and parts and (run / "checkpoint.pt").is_file():
        raise ConfigError(f"{run} is a run and has its own environment and policy, which {parts[0]} cannot change")
    with own_first(directories):
        settings = _checked(compose([text for text in overrides if run is None or text not in parts], command))
    if run is None:
        env = stating_its_law(build.environment(settings))
        policy = build.policy(settings, env, build.Replicas(1, settings["seed"], torch.float64))
        name = " ".join(parts) or "default settings"
    else:
        policy = load_policy(run, trust=trust)
        env = stating_its_law(policy.env)
        name = f"the policy of {run} (replica 0)"
    _check_writable(settings["out"])
    return settings, env, policy, name


def written(directory: str, files: dict[str, bytes | None]) -> list[str]:
    """Writes every file into the directory, each whole or not at all, and returns the paths. None removes an older one."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        if content is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_atomically(folder / name, partial(_write, content))
    return [str(folder / name) for name, content in files.items() if content is not None]


def picture(columns: dict[str, list[float]], band: dict[str, list[float]], accuracy: float) -> bytes | None:
    """Draws the curves as a PNG; gives None, and prints a line that says why, where that cannot be."""
    try:
        return decay_picture(columns, band, accuracy)
    except NoPictureError as error:
        print(error)
        return None


def _is_run(argument: str) -> bool:
    """Says whether it means a directory, not KEY=VALUE: those of runs have equal signs in their names."""
    key, equals, _ = argument.partition("=")
    if "/" in key:
        return not key.lstrip("+~").startswith("hydra/")
    return not equals or ("/" in argument and os.path.isdir(argument))  # seed=0 is a setting, ./seed=0 a directory


def _checked(settings: dict[str, Any]) -> dict[str, Any]:
    """Checks and cleans what both commands have in common."""
    agents = settings["agents"]
    whole = isinstance(agents, list) and agents and all(type(i) is int for i in agents)
    if agents is not None and not whole:
        raise ConfigError(f"agents must be a list such as [0,3], or null for all, got {agents!r}")
    return {
        **settings,
        "accuracy": number("accuracy", settings["accuracy"], 0.0),
        "samples": integer("samples", settings["samples"], 1),
        "seed": integer("seed", settings["seed"], 0),
        "memory": number("memory", settings["memory"], 0.001),
    }


def _check_writable(directory: Any) -> None:
    """Tries it before a long computation and takes back what it made."""
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


def _write(content: bytes, file: IO[bytes]) -> None:
    file.write(content)
