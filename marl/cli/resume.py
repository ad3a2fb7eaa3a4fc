"""`resume=RUN_DIR` begins with the overrides of that run, which somebody else may have written."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from marl import targets
from marl.core.errors import CheckpointError, ConfigError
from marl.runs.directory import read_yaml
from marl.runs.settings import KEYS


def saved_overrides(given: str, directory: Path) -> list[str]:
    """Reads the overrides that the run in `directory` was started with, but for its own resume= and force=.

    Errors: `CheckpointError` if they cannot be read; `ConfigError` for one that `marl train` never keeps: it would change
    what Hydra itself does, or read a yaml file from elsewhere, and either may name code to run.
    """
    path = directory / ".hydra" / "overrides.yaml"
    if not path.is_file():
        raise CheckpointError(f"{given}: {path} is missing; give the directory of a run of marl train")
    try:
        saved = [text for text in read_yaml(path) or [] if not text.startswith(("resume=", "force="))]
        parsed = OverridesParser.create().parse_overrides(saved)
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError, HydraException):
        raise CheckpointError(f"{given}: {path} cannot be read") from None
    for override, text in zip(parsed, saved, strict=True):
        group = str(override.key_or_group)
        of_hydra = re.search(r"\bhydra\b", f"{group.partition('.')[0]} {override.package or ''}")
        elsewhere = "." not in group and (".." in text or (group not in KEYS and "$" in text))
        if of_hydra or elsewhere:
            raise ConfigError(f"{given}: {path} holds {text!r}, which marl train does not keep there; remove it")
    return saved


def refuse_strangers(config: dict[str, Any], saved: Sequence[str], given: str) -> None:
    """Errors: `ConfigError` if classes outside the library are named, unless yaml files of the user's name them.

    The saved overrides choose among yaml files of the library and of directories that were typed; only an override
    that spells a target, a mapping or an interpolation can bring in a name of its own.
    """
    if any("_target_" in text or "{" in text for text in saved):
        targets.refuse_strangers(config, given, "trust=true")
