"""The `marl` command run inside this process (a start costs 3 s), and what to say of a refusal."""

import contextlib
import io
import json
import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jaxtyping
import numpy as np
import pytest
import torch

from marl import cli

SMALL = ("env.rows=2", "env.cols=3", "steps=40", "eval.steps=0")
"""Overrides of a run of a tenth of a second."""


class Outcome(NamedTuple):
    """Exit code, standard output, standard error."""

    code: int
    out: str
    err: str


Marl = Callable[..., Outcome]


@contextlib.contextmanager
def command_in(directory: Path) -> Iterator[Marl]:
    """marl("train", "steps=3") with `directory` as working directory; whatever a process would forget is undone."""
    path, modules, root = list(sys.path), set(sys.modules), logging.getLogger()
    handlers, level = list(root.handlers), root.level
    with pytest.MonkeyPatch.context() as patch:
        # A user's run checks no shapes: wrong types must meet the library's own checks, not those of the tests.
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        patch.setenv("HYDRA_FULL_ERROR", "1")  # the command sets it too; set here, it is taken back
        patch.delenv("MARL_DEBUG", raising=False)
        patch.setattr(sys, "dont_write_bytecode", True)
        patch.chdir(directory)

        def run(*arguments: str) -> Outcome:
            patch.setattr(sys, "argv", ["marl", *arguments])
            out, err = io.StringIO(), io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                try:
                    code = cli.main()
                except SystemExit as stop:
                    code = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
            return Outcome(code, out.getvalue(), err.getvalue())

        try:
            yield run
        finally:
            for handler in set(root.handlers) - set(handlers):
                handler.close()
            root.handlers[:] = handlers
            root.setLevel(level)
            sys.path[:] = path
            for name in set(sys.modules) - modules:
                if str(getattr(sys.modules[name], "__file__", None)).startswith(str(directory)):
                    del sys.modules[name]  # the user's own module of this test


def contents(directory: Path, *, ignore: str = "") -> dict[str, bytes | None]:
    """Every path under `directory`, with the bytes of files; `ignore` is the name of a file to leave out."""
    found = sorted(path for path in directory.rglob("*") if path.name != ignore)
    return {str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None for path in found}


def metrics_of(run: Path) -> dict[str, np.ndarray]:
    """metrics.npz without the speeds, which no two runs share."""
    with np.load(run / "metrics.npz") as arrays:
        return {tag: arrays[tag] for tag in arrays.files if not tag.startswith("perf/")}


def summary_of(run: Path) -> dict[str, Any]:
    """summary.json, which must be strict JSON: NaN and Infinity are not."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in summary.json")

    return json.loads((run / "summary.json").read_text(), parse_constant=refuse)


def state_of(run: Path) -> dict[str, Any]:
    """The leaves of checkpoint.pt by path, without the configuration and the speeds."""
    leaves: dict[str, Any] = {}

    def collect(node: Any, path: str) -> None:
        if isinstance(node, (dict, list)):
            for key, value in node.items() if isinstance(node, dict) else enumerate(node):
                collect(value, f"{path}/{key}")
        elif "/perf/" not in path:
            leaves[path] = node

    collect(torch.load(run / "checkpoint.pt", weights_only=True)["state"], "")
    return leaves


def _same_bits(first: Any, second: Any) -> bool:
    one, other = np.asarray(first), np.asarray(second)
    return (one.dtype, one.shape, one.tobytes()) == (other.dtype, other.shape, other.tobytes())


def assert_same_numbers(run: Path, other: Path) -> None:
    """Every row of metrics.npz and every leaf of the checkpoint, bit for bit, so that NaN is NaN."""
    for first, second in ((metrics_of(run), metrics_of(other)), (state_of(run), state_of(other))):
        assert first.keys() == second.keys()
        differing = [key for key in first if not _same_bits(first[key], second[key])]
        assert differing == []


def assert_refused(outcome: Outcome, *fragments: str) -> None:
    """Exit code 2, nothing on standard output, one line on standard error that holds every fragment, no traceback."""
    assert outcome.code == 2, outcome
    assert outcome.out == ""
    assert outcome.err.startswith("marl: "), outcome.err
    assert outcome.err.endswith("\n")
    assert outcome.err.count("\n") == 1, outcome.err
    assert "Traceback" not in outcome.err
    for fragment in fragments:
        assert fragment in outcome.err, (fragment, outcome.err)


class Bomb:
    """Makes a directory where it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("exploded",)
