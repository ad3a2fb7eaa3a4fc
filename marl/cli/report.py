"""Errors are reported as one sentence on standard error. `MARL_DEBUG=1` shows the traceback instead."""

import os
import sys

from hydra.errors import HydraException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

from marl.core.errors import DivergedError, MarlError, RunFailedError
from marl.graphs.named import suggestion


def report(error: Exception) -> int:
    """Prints the sentence and returns the exit code."""
    if os.environ.get("MARL_DEBUG") == "1":
        raise error
    code = 2
    if isinstance(error, MarlError):
        text = str(error)
        code = 1 if isinstance(error, (DivergedError, RunFailedError)) else 2
    elif isinstance(error, (HydraException, OmegaConfBaseException)):
        text = sentence(error)
    elif isinstance(error, OSError):
        text = f"cannot use {error.filename}: {error.strerror}" if error.filename else str(error)
    else:
        gist = str(error).partition("\n")[0]
        text, code = f"{type(error).__name__}: {gist} (MARL_DEBUG=1 shows where)", 1
    print(f"marl: {text}", file=sys.stderr)
    return code


def sentence(error: Exception) -> str:
    """Puts the gist of an error of ours or of Hydra's in one line."""
    if isinstance(error, MarlError):
        return str(error)
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    quoted = lines[0].partition("'")[2].partition("'")[0]
    if "Could not override" in lines[0]:
        return f"there is no key {quoted!r} to set{_beside(quoted, error.__cause__)}"
    if lines[0].startswith("Could not delete"):
        return f"there is no key {quoted!r} to remove"
    if lines[0].startswith("Ambiguous value"):
        key, _, values = lines[0].partition("'")[2].rpartition("'")[0].partition("=")
        return f"{key} takes one value, got {values}; marl train -m sweeps over several, and {key}=[{values}] is a list"
    if isinstance(error, MissingMandatoryValue):
        return f"{error.full_key} must be given: it has no default"
    if lines[0].startswith("Cannot find primary config"):
        return f"there is no configuration {quoted!r}; --config-dir DIR says in which directory {quoted}.yaml is"
    if isinstance(error, OverrideParseException) and not error.override.isascii():
        key, _, value = error.override.partition("=")
        strange = " ".join(dict.fromkeys(letter for letter in error.override if not letter.isascii()))
        if not key.isascii():
            return (
                f"cannot read {error.override!r}: keys and options are written in ASCII characters, which {strange} is not"
            )
        return f"cannot read {error.override!r}: a value with {strange} in it needs quotes, {key}=\\'{value}\\' in a shell"
    if isinstance(error, OverrideParseException) and "=" not in error.override:
        return f"cannot read {error.override!r}: settings are written KEY=VALUE"
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}: {lines[0]}"
    noise = ("Config search path", "provider=", "full_key", "object_type")
    listed = [k for k, line in enumerate(lines) if line.startswith("Available options in")]
    if listed:
        options = [line for line in lines[listed[0] + 1 :] if not line.startswith(noise)]
        missing = lines[0].partition(": ")[2]
        like = suggestion(missing.rpartition("/")[2].rstrip("'"), options)
        return f"{missing}{like}; there are: {', '.join(options)} (--config-dir DIR adds your own)"
    return " ".join(line for line in lines if not line.startswith(noise))


def _beside(key: str, cause: BaseException | None) -> str:
    """Says which keys there are in the place of one that is not."""
    place, _, name = key.rpartition(".")
    node = getattr(cause, "parent_node", None)
    if not isinstance(node, DictConfig):
        return "; marl COMMAND --help lists the keys"
    names = [str(known) for known in node if known not in ("_target_", "hydra")]
    return f"{suggestion(name, names)}; there are: {', '.join(names)}" if names else f"; {place} has none"
