"""Yaml files are looked for in one's own directories first, then in the library's."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.plugins import Plugins
from hydra.plugins.search_path_plugin import SearchPathPlugin

from marl.core.errors import ConfigError

OPTIONS = ("--config-dir", "-cd", "--config-path", "-cp")
"""Hydra's two kinds of directories are one here: beside one's own files the library's are always there."""


class OwnFirst(SearchPathPlugin):
    """This puts directories before the library's: a file of one's own wins over one of the library of the same name."""

    directories: ClassVar[Sequence[str]] = ()

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Answers Hydra's hook."""
        for directory in OwnFirst.directories:
            search_path.prepend("own", f"file://{directory}", SearchPathQuery(provider="main"))


Plugins.instance().register(OwnFirst)


@contextlib.contextmanager
def own_first(directories: Sequence[str]) -> Iterator[None]:
    """Makes Hydra look into these directories inside, in this order."""
    before, OwnFirst.directories = OwnFirst.directories, directories
    try:
        yield
    finally:
        OwnFirst.directories = before


def own_directories(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """Takes the options that name directories out of the words: (whole paths, the last first, the other words).

    Errors: `ConfigError` if one is no directory, or has none after it.
    """
    directories, others, remaining = [], [], iter(words)
    for word in remaining:
        option, equals, value = word.partition("=")
        if option not in OPTIONS:
            others.append(word)
            continue
        directory = value if equals else next(remaining, None)
        if directory is None:
            raise ConfigError(f"{option} needs a directory after it")
        if not os.path.isdir(directory):
            raise ConfigError(f"{option} {directory} is no directory")
        directories.append(str(Path(directory).absolute()))
    return directories[::-1], others
