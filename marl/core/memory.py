"""This module says how much memory is free, and refuses in a sentence what would not fit."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

from marl.core.checks import gib
from marl.core.errors import NotEnoughMemoryError

_GROUPS, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_GROUP_FILES = {
    "": ("memory.max", "memory.current"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes"),
}

_KEPT_FREE = 0.05
"""Share of the free memory that is left alone."""


def free() -> int | None:
    """Counts the bytes that this process may still take, None where nobody knows (it is read from Linux's files)."""
    try:
        fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text(encoding="utf-8").splitlines())
        limits = [int(fields["MemAvailable"].split()[0]) * 1024]
    except (OSError, ValueError, KeyError):
        return None
    for folder, files in _groups():
        with contextlib.suppress(OSError, ValueError, KeyError):
            fields = dict(line.split() for line in (folder / "memory.stat").read_text(encoding="utf-8").splitlines())
            cached = int(fields["inactive_file"]) + int(fields["active_file"])  # given up when memory is wanted
            most, now = (int((folder / file).read_text(encoding="utf-8")) for file in files)
            limits.append(most - now + cached)
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        limits.append(most - process_bytes(0))
    return max(0, min(limits))


def _groups() -> Iterator[tuple[Path, tuple[str, str]]]:
    """Finds where containers and batch systems allow a process less than the machine has: (folder, (most, now)).

    The group of the process and those around it, in version 2 of Linux's control groups and in version 1.
    """
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = _MEMBERSHIP.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    own = {kind: Path(path.lstrip("/")) for _, kind, path in (line.split(":", 2) for line in lines)}
    for kind, files in _GROUP_FILES.items():
        path = own.get(kind, Path())
        for group in (path, *path.parents):
            yield _GROUPS / kind / group, files


def require(needed: int, what: str) -> None:
    """Refuses `needed` bytes for `what` if less than a twentieth of what is free would be left.

    Errors: `NotEnoughMemoryError`.
    """
    there = free()
    if there is not None and needed > (1.0 - _KEPT_FREE) * there:
        raise NotEnoughMemoryError(f"{what} needs {gib(needed)} GiB and {gib(there)} GiB of memory are free")


def process_bytes(field: int) -> int:
    """Counts the bytes of address space (field 0) or of memory (1) of this process; 0 where that cannot be known."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[field]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0
