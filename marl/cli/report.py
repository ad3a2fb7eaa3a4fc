"""Errors are reported as one sentence on standard error. `MARL_DEBUG=1` shows the traceback instead."""

import os
import sys

from hydra.errors import HydraException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException

from marl.core.errors import DivergedError, MarlError, RunFailedError


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
    if "Could not override" in lines[0]:
        key = lines[0].split("'")[1]
        return f"there is no key {key!r} to set; marl COMMAND --help lists the keys"
    if lines[0].startswith("Cannot find primary config"):
        name = lines[0].split("'")[1]
        return f"there is no configuration {name!r}; --config-dir DIR says in which directory {name}.yaml is"
    if isinstance(error, OverrideParseException) and not error.override.isascii():
        key, _, value = error.override.partition("=")
        strange = " ".join(dict.fromkeys(letter for letter in error.override if not letter.isascii()))
        if not key.isascii():
            return (
                f"cannot read {error.override!r}: keys and options are written in ASCII characters, which {strange} is not"
            )
        return f"cannot read {error.override!r}: a value with {strange} in it needs quotes, {key}=\\'{value}\\' in a shell"
    if isinstance(error, OverrideParseException):
        return f"cannot read {error.override!r}: {lines[0]}"
    noise = ("Config search path", "provider=", "full_key", "object_type")
    listed = [k for k, line in enumerate(lines) if line.startswith("Available options in")]
    if listed:
        options = [line for line in lines[listed[0] + 1 :] if not line.startswith(noise)]
        return f"{lines[0].partition(': ')[2]}; there are: {', '.join(options)}"
    return " ".join(line for line in lines if not line.startswith(noise))
