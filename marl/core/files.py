"""Files are written so that a reader never sees half of one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

LONGEST_NAME = 200
"""Most bytes of a file's name that the name of its temporary file begins with."""


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
