"""What comes from disk is weighed before it is loaded: a small file cannot ask for much memory."""

import math
import os
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO, Any

from numpy.lib import format as npy

SMALL = 2**26
"""Bytes that any file may ask for."""
FACTOR = 16
"""How many times its own size a larger file may ask for: more than numbers of one byte need as float64."""


def room(size: int) -> int:
    """Returns how many bytes of memory a file of `size` bytes may ask for."""
    return max(SMALL, FACTOR * size)


def weigh(file: IO[bytes]) -> None:
    """Adds up what the arrays of an .npz file will take as float64, from their headers alone.

    Errors: ValueError if it is out of proportion to the file; `zipfile.BadZipFile`, OSError if it cannot be read at all.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    total = 0
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            total += max(member.file_size, _bytes(archive, member))
            if total > room(size):
                raise ValueError(
                    f"{size} bytes that ask for {total / 2**20:.0f} MiB or more, over {FACTOR} times the file and "
                    f"{SMALL // 2**20} MiB; write it with numpy.savez, which does not compress"
                )
    file.seek(0)


def parts(value: Any) -> Iterator[Any]:
    """Yields a value and all that it is made of, each as often as it is there: one part may be meant again and again."""
    yield value
    if isinstance(value, (Mapping, list, tuple)):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from parts(part)


def _bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Counts the bytes of an array as float64, or as its own type if that is larger.

    0 if its header cannot be read, about which numpy will have more to say.
    """
    read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    try:
        with archive.open(member) as file:
            shape, _, dtype = read[npy.read_magic(file)](file)
            return math.prod(shape) * max(8, dtype.itemsize)
    except Exception:  # numpy, zipfile and zlib have many
        return 0
