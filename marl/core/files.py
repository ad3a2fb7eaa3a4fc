"""Files are written so that a reader never sees half of one, and found from where a run was started."""

import contextlib
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

LONGEST_NAME = 200
"""Most bytes of a file's name that the name of its temporary file begins with."""

_start: ContextVar[Path | None] = ContextVar("_start", default=None)


@contextlib.contextmanager
def started_in(directory: Path | None) -> Iterator[None]:
    """Makes `located` look from here inside; None: from the working directory alone."""
    token = _start.set(directory)
    try:
        yield
    finally:
        _start.reset(token)


def located(path: str | Path) -> Path:
    """Finds a file that a setting names. A relative path is meant from where the run was started.

    If there is no such file, or nothing is known of a start, it is meant from the working directory.
    """
    start = _start.get()
    if start is None or start == Path.cwd() or not os.path.exists(start / path):
        return Path(path)
    return start / path


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """`write` fills a temporary file beside `path`, which then takes its name; until then the old file stays.

    Errors: OSError, with the old file untouched and the temporary one removed.
    """
    kept = os.fsdecode(os.fsencode(path.name)[:LONGEST_NAME])  # a name of 255 bytes has no room for more
    temporary = path.with_name(f".{kept}.{os.getpid()}")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
