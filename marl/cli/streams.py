"""What is printed and logged is made so that whoever does not listen, and a disk that is full, cost no results."""

import contextlib
import errno
import io
import logging
import os
import select
import sys
from collections.abc import Iterator
from typing import Any, TextIO

GONE = (errno.EPIPE, errno.EIO)
"""Errors that say that nobody reads any more: a closed pipe, a closed terminal."""


class Stream(io.FileIO):
    """This is a file to print to; what cannot be written is let go. `lost`: why, None if nothing was lost."""

    lost: OSError | None = None

    def write(self, content: Any) -> int:
        """Writes all of it, or takes note of why not; waits for a slow reader."""
        left = memoryview(content).cast("B")
        try:
            while left:
                written = super().write(left)
                if written is None:
                    select.select([], [self], [])
                left = left[written or 0 :]
        except OSError as error:
            self.lost = error
        return memoryview(content).nbytes


class LogFile(logging.FileHandler):
    """Logs to a file as long as that can be written, and says once on standard error if it cannot any more."""

    _failed = False

    def emit(self, record: logging.LogRecord) -> None:
        """Answers the hook of `logging`, which opens the file with the first line."""
        if not self._failed:
            try:
                super().emit(record)
            except OSError:
                self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802  (the name is logging's)
        """Answers the hook of `logging`, in place of a traceback for every line."""
        self._failed, error, stream = True, sys.exception(), self.stream
        with contextlib.suppress(OSError):
            if stream is not None:
                stream.close()
        with contextlib.suppress(OSError):
            if sys.stderr is not None:
                print(f"{self.baseFilename} cannot be written, what is logged stands here alone: {error}", file=sys.stderr)


@contextlib.contextmanager
def outlived() -> Iterator[list[Stream]]:
    """Gives what is printed inside to `Stream`s, and makes up for closed ones; yields that of standard output, if any.

    Characters that a stream has no code for are printed as escapes: no locale costs a run its last line.
    """
    before = sys.stdout, sys.stderr
    _keep_numbers()
    sys.stdout, sys.stderr = (_outlived(stream) for stream in before)
    try:
        yield [raw for raw in (_raw(sys.stdout),) if isinstance(raw, Stream)]
    finally:
        for stream, earlier in zip((sys.stdout, sys.stderr), before, strict=True):
            stream.flush()
            if earlier is None:
                stream.close()
        sys.stdout, sys.stderr = before


def _outlived(stream: TextIO | None) -> TextIO:
    """Returns what takes the place of a stream. One that is no file, as in tests and notebooks, stays."""
    if stream is None:
        return open(os.devnull, "w", encoding="utf-8")
    if type(stream) is not io.TextIOWrapper or type(_raw(stream)) is not io.FileIO:
        return stream
    with contextlib.suppress(OSError):
        stream.flush()
    raw: Any = Stream(stream.fileno(), "w", closefd=False)
    given: dict[str, Any] = {"line_buffering": stream.line_buffering, "write_through": stream.write_through}
    buffer = raw if isinstance(stream.buffer, io.FileIO) else io.BufferedWriter(raw)  # none under PYTHONUNBUFFERED
    return io.TextIOWrapper(buffer, stream.encoding, "backslashreplace", **given)


def _raw(stream: TextIO) -> Any:
    buffer = getattr(stream, "buffer", None)
    return getattr(buffer, "raw", buffer)


def _keep_numbers() -> None:
    """Takes the numbers of closed standard streams, which files of the run would be given: they would be printed into."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(number, True)
    os.close(number)
