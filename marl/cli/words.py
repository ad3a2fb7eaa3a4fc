"""A command that composes no configuration takes directories and files, and KEY=VALUE for the keys it knows."""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from marl.cli.help import of
from marl.core.errors import ConfigError

Keys = Mapping[str, tuple[Callable[[str], Any], Any]]
"""Key -> (what reads its value, the value where it is not given)."""


def read(command: str, arguments: Sequence[str], keys: Keys) -> tuple[list[str], dict[str, Any]]:
    """Splits the words into (directories and files, key -> value), each in whatever order; of a key the last one counts.

    Errors: `ConfigError` for an option, or for a value that its key does not take.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("places", nargs="*")
    for key, (kind, default) in keys.items():
        parser.add_argument(f"--{key}", dest=key, type=kind, default=default)
    if options := [word for word in arguments if word.startswith("-")]:
        raise ConfigError(f"there is no option {options[0]!r}; marl {command} --help shows what there is")
    try:
        found = vars(parser.parse_intermixed_args(_spelled(arguments, keys)))
    except argparse.ArgumentError as error:
        raise ConfigError(f"{str(error.argument_name).removeprefix('--')} {error.message}") from None
    return found.pop("places"), found


def number(text: str) -> float | None:
    """Reads a number, or null for what holds where none is given."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    if text == "null":
        return None
    raise argparse.ArgumentTypeError(f"must be a number, got {text!r}")


def truth(text: str) -> bool:
    """Reads true or false."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"must be true or false, got {text!r}")
    return text == "true"


def trusted(words: Sequence[str]) -> tuple[bool, list[str]]:
    """Takes trust=true or trust=false out of the words: (whether a saved run is trusted, the others)."""
    given = [word for word in words if word.partition("=")[0] == "trust"]
    if wrong := [word for word in given if word not in ("trust=true", "trust=false")]:
        raise ConfigError(f"trust must be true or false, got {wrong[0]}")
    return given[-1:] == ["trust=true"], [word for word in words if word not in given]


def look_here() -> None:
    """Lets a _target_ name a module beside the user; not for a saved run without trust, which may lie right here."""
    sys.path.append(os.getcwd())


def other_words(command: str, places: Sequence[str]) -> ConfigError:
    """Makes the error for directories and files that are too few or too many, among them keys that do not exist."""
    usage = of(command).partition("\n")[0].partition(f" {command} ")[2]
    return ConfigError(f"marl {command} takes {usage}, got {', '.join(map(repr, places)) or 'nothing'}")


def _spelled(arguments: Sequence[str], keys: Keys) -> list[str]:
    """Spells KEY=VALUE as argparse does, --KEY=VALUE. A first word stays as it is if there is a directory of that name."""
    spelled = [f"--{word}" if "=" in word and word.partition("=")[0] in keys else word for word in arguments]
    if arguments and os.path.isdir(arguments[0]):  # runs are in directories such as seed=0
        spelled[0] = arguments[0]
    return spelled
