"""The command, in a directory of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.command import Marl, command_in


@pytest.fixture
def marl(tmp_path: Path) -> Iterator[Marl]:
    """marl("train", "steps=3") -> (exit code, standard output, standard error), in tmp_path."""
    with command_in(tmp_path) as run:
        yield run
