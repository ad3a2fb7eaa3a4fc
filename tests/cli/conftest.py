"""`marl`: the command, run inside this process as a user runs it in a directory of its own (a start costs 3 s)."""

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import jaxtyping
import pytest

from marl import cli


class Outcome(NamedTuple):
    """What a command left on the terminal."""

    code: int
    out: str
    err: str


Marl = Callable[..., Outcome]


@pytest.fixture
def marl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Marl]:
    """marl("train", "steps=3") -> (exit code, standard output, standard error), with tmp_path as working directory."""
    # A user's run checks no shapes: wrong types must meet the library's own checks, not those of the tests.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")  # the command sets it itself; told here so that it is taken back
    monkeypatch.delenv("MARL_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)
    path, modules, root = list(sys.path), set(sys.modules), logging.getLogger()
    handlers, level = list(root.handlers), root.level

    def run(*arguments: str) -> Outcome:
        capfd.readouterr()
        monkeypatch.setattr(sys, "argv", ["marl", *arguments])
        try:
            code = cli.main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        return Outcome(code, *capfd.readouterr())

    yield run
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
