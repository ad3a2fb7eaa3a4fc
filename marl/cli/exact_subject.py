"""`marl certify` and `marl decay` compute exact numbers of an environment and a policy, and write them with a picture."""

from functools import partial
from pathlib import Path
from typing import IO, Any

from marl.cli.subject import check_writable, subject
from marl.core.checks import integer, number
from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.files import write_atomically
from marl.core.policy import Policy
from marl.exact.local_laws import stating_its_law
from marl.plotting import NoPictureError, decay_picture


def exact_subject(command: str, arguments: list[str]) -> tuple[dict[str, Any], NetworkedMDP, Policy, str]:
    """Finds (checked settings, environment, policy, what to call them).

    Errors: those of `subject`; `ConfigError` if the environment does not state its law, or if nothing could be written to
    `out`, which is left as it is.
    """
    found = subject(command, arguments, _checked)
    env = stating_its_law(found.env)
    check_writable(found.settings["out"])
    name = found.name if found.run is None else f"{found.name} (replica 0)"
    return found.settings, env, found.policy, name


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


def _write(content: bytes, file: IO[bytes]) -> None:
    file.write(content)
