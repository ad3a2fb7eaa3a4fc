"""Names of directories are shortened by bytes, of which file systems take 255, and stay different."""

import os
from pathlib import Path

import pytest

from marl.cli.train import _run_name
from marl.core.files import write_atomically
from tests.cli.command import Marl, summary_of

LETTERS = ["a", "ä", "図", "🂡"]


@pytest.mark.parametrize("letter", LETTERS)
def test_a_long_name_is_one_that_can_be_made(tmp_path: Path, letter: str) -> None:
    names = set()
    for length in (1, 40, 55, 70, 100, 190, 210, 400):
        for end in ("_1", "_2"):
            for shift in ("", "x", "xx", "xxx"):  # a letter of several bytes is never cut
                name = _run_name([f"env.graph={shift}{letter * length}{end}"], 3)
                (tmp_path / name).mkdir(parents=True)
                names.add(name)
                assert len(os.fsencode(name.partition("/")[0])) <= 200
                assert name.startswith(f"env.graph={shift}{letter}")
                assert name.endswith("/seed=3")
    assert len(names) == 8 * 2 * 4


def test_names_that_fit_are_kept() -> None:
    assert _run_name(["env.graph=図/ä.txt", "seed=3", "+a=1", "force=true"], 3) == "env.graph=図_ä.txt,a=1/seed=3"
    assert _run_name([f"a={'b' * 198}"], 0) == f"a={'b' * 198}/seed=0"
    assert _run_name([f"a={'b' * 199}"], 0).startswith(f"a={'b' * 178}~")


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    """A byte that is no UTF-8 comes from a shell as half of a pair."""
    names = {_run_name([f"a=\udcff{'b' * length}"], 0) for length in (1, 300, 301)}
    assert len(names) == 3
    for name in names:
        (tmp_path / name).mkdir(parents=True)


@pytest.mark.parametrize("letter", LETTERS)
def test_a_file_of_the_longest_name_can_be_written(tmp_path: Path, letter: str) -> None:
    path = tmp_path / (letter * (255 // len(letter.encode())))
    for text in (b"one", b"two"):
        write_atomically(path, lambda file, text=text: file.write(text))  # type: ignore[misc]
        assert path.read_bytes() == text
    assert list(tmp_path.iterdir()) == [path]


def test_a_run_with_a_long_name(marl: Marl, tmp_path: Path) -> None:
    (tmp_path / f"{'図' * 70}.txt").write_text("0 1\n1 2\n")
    outcome = marl("train", "env=coloring", f"env.graph='{'図' * 70}.txt'", "steps=40", "eval.steps=0", "logger=none")
    assert outcome.code == 0, outcome
    (run,) = (tmp_path / "outputs").glob("env=coloring,env.graph=*~*/seed=0")
    assert summary_of(run)["status"] == "finished"
