"""Loggers on their own: what they keep, print, and do without."""

import contextlib
import errno
import io
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.summary.writer.record_writer import RecordWriter

from marl.core.logger import Logger, Metrics
from marl.envs import WirelessAccess
from marl.loggers import ArrayLogger, ProgressLogger, TensorBoardLogger
from marl.loggers import tensorboard as tensorboard_module


def metrics(step: int) -> Metrics:
    """One number, one per replica [2], one per replica and agent [2, 6]."""
    return {
        "train/average_reward": np.array([0.1, 0.3]) * step,
        "train/agent_reward": np.arange(12.0).reshape(2, 6) + step,
        "schedule/alpha": 1.0 / step,
        "perf/env_steps_per_second": 50.0,
    }


def test_all_are_loggers(small: WirelessAccess, tmp_path: Path) -> None:
    board = TensorBoardLogger(tmp_path, env=small, config={})
    assert all(isinstance(logger, Logger) for logger in (ArrayLogger(), ProgressLogger(10), board))
    board.close()


def test_arrays_are_rows_by_tag() -> None:
    logger = ArrayLogger()
    for step in (5, 10, 15):
        logger.log(step, metrics(step))
    arrays = logger.arrays()
    assert arrays["step"].tolist() == [5, 10, 15]
    np.testing.assert_array_equal(arrays["train/average_reward"], [[0.5, 1.5], [1.0, 3.0], [1.5, 4.5]])
    np.testing.assert_array_equal(arrays["schedule/alpha"], [1 / 5, 1 / 10, 1 / 15])
    assert "train/agent_reward" not in arrays  # L x B x n would grow without end
    np.testing.assert_array_equal(logger.last["train/agent_reward"], np.arange(12.0).reshape(2, 6) + 15)


def test_arrays_before_anything_was_logged() -> None:
    assert {tag: array.tolist() for tag, array in ArrayLogger().arrays().items()} == {"step": []}


def test_arrays_go_on_from_a_saved_state() -> None:
    whole, first, second = ArrayLogger(), ArrayLogger(), ArrayLogger()
    for step in (5, 10, 15):
        whole.log(step, metrics(step))
    first.log(5, metrics(5))
    first.log(10, metrics(10))
    second.load_state_dict(first.state_dict())
    second.log(15, metrics(15))
    assert second.arrays().keys() == whole.arrays().keys()
    assert all(np.array_equal(second.arrays()[tag], array) for tag, array in whole.arrays().items())
    assert first.steps == [5, 10]  # the state is a copy
    np.testing.assert_array_equal(second.last["train/agent_reward"], whole.last["train/agent_reward"])


@pytest.mark.parametrize(("steps", "start", "every", "count"), [(1000, 0, 10, 10), (40, 0, 7, 5), (1000, 800, 10, 2)])
def test_plain_lines(capsys: pytest.CaptureFixture[str], steps: int, start: int, every: int, count: int) -> None:
    """Ten in a whole run, whatever the log points; fewer when the log points are fewer or the run is continued."""
    logger = ProgressLogger(steps, start)
    for step in range(start + every, steps + 1, every):
        logger.log(step, metrics(step))
    logger.close()
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == count
    found = re.fullmatch(r"step (\d+)/(\d+)  average reward ([\d.]+)  50 steps/s  (\d+) s left", lines[0])
    assert found is not None
    step = int(found[1])
    assert int(found[2]) == steps
    assert float(found[3]) == pytest.approx(0.2 * step)
    assert int(found[4]) == round((steps - step) / 50)


def test_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    logger = ProgressLogger(100, 20)
    for step in range(30, 101, 10):
        logger.log(step, metrics(step))
    shown = screen.getvalue()
    logger.close()
    assert "20/100" in shown
    assert "\n" not in screen.getvalue().strip("\n")
    assert screen.getvalue().endswith("\r")  # the bar is wiped: what follows starts on a clean line


def images_in(directory: Path) -> list[str]:
    return EventAccumulator(str(directory)).Reload().Tags()["images"]


@pytest.mark.parametrize("missing", [True, False])
def test_no_picture_without_matplotlib(
    small: WirelessAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, missing: bool
) -> None:
    if missing:
        for name in {name for name in sys.modules if name.partition(".")[0] == "matplotlib"} | {"matplotlib"}:
            monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.delitem(sys.modules, "marl.plotting", raising=False)
    logger = TensorBoardLogger(tmp_path, env=small, config={})
    logger.log(5, metrics(5))
    with caplog.at_level(logging.INFO):
        logger.close()
    assert ("pip install networked-marl[plots]" in caplog.text) == missing
    assert images_in(tmp_path) == ([] if missing else ["network/agent_reward"])


def test_large_networks_are_not_drawn(small: WirelessAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensorboard_module, "MAX_PICTURE", 5)
    logger = TensorBoardLogger(tmp_path, env=small, config={})
    logger.log(5, metrics(5))
    logger.close()
    assert images_in(tmp_path) == []


def test_continuing_drops_what_comes_after(small: WirelessAccess, tmp_path: Path) -> None:
    for first, last, purge in ((1, 5, None), (4, 8, 4)):
        logger = TensorBoardLogger(tmp_path, env=small, config={}, picture=False, purge_step=purge)
        for step in range(first, last + 1):
            logger.log(step, metrics(step))
        logger.close()
    curve = EventAccumulator(str(tmp_path)).Reload().Scalars("train/average_reward")
    assert [event.step for event in curve] == list(range(1, 9))


def test_a_run_outlives_whoever_watches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe that nobody reads any more stops no run."""
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", buffering=1) as broken:
        monkeypatch.setattr(sys, "stderr", broken)
        progress = ProgressLogger(steps=10)
        for step in (5, 10):
            progress.log(step, {"train/average_reward": np.zeros(1), "perf/env_steps_per_second": 1.0})
        progress.close()
        monkeypatch.undo()
        with contextlib.suppress(OSError):
            broken.close()


def closed() -> io.StringIO:
    stream = io.StringIO()
    stream.close()
    return stream


class Hung(io.StringIO):
    """A terminal whose window was closed."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.parametrize("stream", [lambda: None, closed, Hung])
def test_progress_that_nobody_can_see(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stream: Callable[[], io.StringIO | None]
) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    logger = ProgressLogger(10)
    for step in range(1, 11):
        logger.log(step, metrics(step))
    logger.close()
    assert capsys.readouterr().out == ""


def used(logger: TensorBoardLogger) -> None:
    for step in range(1, 4):
        logger.log(step, metrics(step))
        logger.flush()
    logger.close()


def test_events_where_no_directory_can_be(small: WirelessAccess, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "tb").write_text("a file")
    used(TensorBoardLogger(tmp_path / "tb", env=small, config={}))
    (line,) = caplog.messages
    assert line.startswith("no more events for TensorBoard, the run goes on without them: ")


@pytest.mark.parametrize("good", [0, 1, 5])
def test_events_on_a_disk_that_fills(
    small: WirelessAccess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, good: int
) -> None:
    """In the thread that writes them, after so many."""
    write, written = RecordWriter.write, []

    def full(writer: RecordWriter, data: bytes) -> None:
        if len(written) == good:
            raise OSError(errno.ENOSPC, "No space left on device")
        written.append(write(writer, data))

    monkeypatch.setattr(RecordWriter, "write", full)
    used(TensorBoardLogger(tmp_path, env=small, config={}))
    (line,) = caplog.messages
    assert line.endswith("[Errno 28] No space left on device")


def test_a_foreign_file_among_the_events(small: WirelessAccess, tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.copy").touch()
    used(TensorBoardLogger(tmp_path, env=small, config={}))
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("backend", ["Qt4Agg", "module://of_another_notebook"])
def test_pictures_are_drawn_whatever_the_backend(tmp_path: Path, backend: str) -> None:
    """Nothing is shown, so none is needed; whoever needs one later finds the setting as it was."""
    program = (
        "import numpy as np, os; from marl.plotting import learning_curves; x = np.arange(3.0);"
        "curves = [('n$^$a', x, x, x, x), ('_b$', x, x, x, x)];"
        f"assert learning_curves(curves, {{}})[1:4] == b'PNG'; assert os.environ['MPLBACKEND'] == {backend!r}"
    )
    environment = {**os.environ, "MPLBACKEND": backend}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
