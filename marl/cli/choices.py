"""Of a group of yaml files one is chosen: Hydra mixes several into one part, and a method into an experiment's own."""

import re
from collections.abc import Sequence

from marl.build import PARTS
from marl.core.errors import ConfigError

NO_NAME = re.compile(r"['\" ]*[\[{].*|null|true|false|[\d.+-]+")


def check_choices(overrides: Sequence[str]) -> None:
    """Errors: `ConfigError` for what is no name, a list of several among it, and for a method beside an experiment."""
    chosen = {}
    for text in overrides:
        key, _, value = text.lstrip("+").partition("=")
        if key not in (*PARTS, "method", "experiment"):
            continue
        if NO_NAME.fullmatch(value):
            raise ConfigError(f"{text} names no file: {key} is one name; marl train -m {key}=A,B runs one after the other")
        chosen[key] = text
    if "method" in chosen and "experiment" in chosen:
        raise ConfigError(
            f"{chosen['method']} and {chosen['experiment']} exclude each other: an experiment has a method of its own; "
            "give one of them (a method takes env=NAME and steps=N beside it)"
        )
