"""Whoever does not listen, or a disk that is full, costs a command nothing but the line that was not read."""

import io
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from marl import cli
from marl.cli.streams import LogFile, outlived
from tests.cli.command import SMALL, Marl, summary_of

MADE: list[io.TextIOWrapper] = []


def written_to(descriptor: int, encoding: str = "utf-8", *, buffered: bool = True) -> io.TextIOWrapper:
    """A standard stream as Python makes them, with PYTHONUNBUFFERED and without."""
    raw: Any = io.FileIO(descriptor, "w")
    MADE.append(io.TextIOWrapper(io.BufferedWriter(raw) if buffered else raw, encoding, line_buffering=True))
    return MADE[-1]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while MADE:
        MADE.pop().close()


def closed_pipe() -> io.TextIOWrapper:
    read, write = os.pipe()
    os.close(read)
    return written_to(write)


def full_disk() -> io.TextIOWrapper:
    return written_to(os.open("/dev/full", os.O_WRONLY), buffered=False)


def no_stream() -> None:
    return None


BROKEN = [closed_pipe, full_disk, no_stream]


@pytest.mark.parametrize("broken", BROKEN)
def test_a_run_keeps_its_results(
    marl: Marl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: Callable[[], io.TextIOWrapper | None]
) -> None:
    assert marl("train", "--cfg", "job", *SMALL).code == 0  # (what the fixture takes back is set)
    monkeypatch.setattr(sys, "argv", ["marl", "train", *SMALL, "logger=none", "hydra.run.dir=run"])
    monkeypatch.setattr(sys, "stdout", broken())
    monkeypatch.setattr(sys, "stderr", broken())
    code = cli.main()
    monkeypatch.setattr(sys, "argv", ["marl", "plot", "run"])
    assert (code, cli.main()) == (0, 0)
    monkeypatch.undo()
    assert summary_of(tmp_path / "run")["status"] == "finished"
    assert {path.name for path in (tmp_path / "plot").iterdir()} >= {"results.md", "results.json", "curves.png"}


@pytest.mark.parametrize(("broken", "line"), [(closed_pipe, ""), (full_disk, "No space left on device"), (no_stream, "")])
def test_a_command_says_that_its_lines_were_lost(
    monkeypatch: pytest.MonkeyPatch, broken: Callable[[], io.TextIOWrapper | None], line: str
) -> None:
    """But for a reader that has gone. Only `marl evaluate` prints what stands in no file."""
    monkeypatch.setattr(cli, "_run", lambda arguments: print("a line") or 0)
    for command, code in (("plot", 0), ("evaluate", 1 if line else 0)):
        with monkeypatch.context() as patch:
            patch.setattr(sys, "argv", ["marl", command])
            patch.setattr(sys, "stdout", broken())
            patch.setattr(sys, "stderr", io.StringIO())
            assert cli.main() == code
            said = sys.stderr.getvalue()  # type: ignore[attr-defined]
        assert said == (f"marl: what it printed could not be written: {line}\n" if line else "")


def test_characters_that_a_locale_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    monkeypatch.setattr(sys, "stdout", written_to(write, "ascii"))
    with outlived():
        print("in Läufe/seed=0", os.fsdecode(b"\xff"))
    monkeypatch.undo()
    assert os.read(read, 100) == rb"in L\xe4ufe/seed=0 \udcff" + b"\n"
    os.close(read)


def test_a_slow_reader_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that does not block, as some shells and programs leave them."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    monkeypatch.setattr(sys, "stdout", written_to(write))
    found: list[bytes] = []

    def slowly() -> None:
        while sum(map(len, found)) < 400_001:
            found.append(os.read(read, 1 << 20))

    reader = threading.Thread(target=slowly)
    reader.start()
    with outlived() as streams:
        print("x" * 400_000)
    reader.join(10)
    monkeypatch.undo()
    assert b"".join(found) == b"x" * 400_000 + b"\n"
    assert [stream.lost for stream in streams] == [None]
    os.close(read)


@pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-", "| true", "2>&1 | true"])
def test_help_in_a_shell(closed: str) -> None:
    command = f"set -o pipefail; '{sys.executable}' -m marl --help {closed}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_files_are_not_given_the_numbers_of_closed_streams(tmp_path: Path) -> None:
    """What a program prints below Python would go into them."""
    program = "from marl.cli.streams import outlived; outlived().__enter__(); print(open('file', 'w').fileno(), flush=True)"
    command = f"'{sys.executable}' -c \"{program}\" <&- 2>&-"
    done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, cwd=tmp_path, check=True)
    assert int(done.stdout) > 2


def test_a_log_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line for a file that cannot be opened, and for a disk that is full; the others stand on standard error alone."""
    for name in (str(tmp_path), "/dev/full"):
        handler = LogFile(name, encoding="utf-8", delay=True)
        for _ in range(3):
            handler.handle(logging.makeLogRecord({"msg": "hello"}))
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"{name} cannot be written")
