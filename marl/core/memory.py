"""How much memory the parts of a run hold, how much is free, and what happens when it would not suffice."""

import contextlib
import ctypes
import resource
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from torch import Tensor, nn

from marl.core.checks import gib, size
from marl.core.errors import NotEnoughMemoryError

_GROUPS, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_GROUP_FILES = {
    "": ("memory.max", "memory.current"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes"),
}

_KEPT_FREE = 0.05
"""Share of the free memory that is left alone."""


def held(*parts: object) -> int:
    """Bytes of all arrays, tensors and lists that can be reached from `parts`, each counted once.

    A part may say how many bytes of its arrays were never written, `never_written`: they are not held.
    """
    seen: set[int] = set()
    total, waiting = 0, list(parts)
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, Tensor):
            store = part.untyped_storage()
            if store.data_ptr() not in seen:
                seen.add(store.data_ptr())
                total += store.nbytes()
        elif isinstance(part, np.ndarray):
            owner = part
            while isinstance(owner.base, np.ndarray):
                owner = owner.base
            address = owner.__array_interface__["data"][0]
            if address not in seen:
                seen.add(address)
                total += owner.nbytes
        else:
            total += sys.getsizeof(part) - getattr(part, "never_written", 0)
            waiting += _inside(part)
    return total


def free() -> int | None:
    """Bytes that this process may still take, or None where that cannot be known (it is read from Linux's files)."""
    try:
        fields = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        limits = [int(fields["MemAvailable"].split()[0]) * 1024]
    except (OSError, ValueError, KeyError):
        return None
    for folder, files in _groups():
        with contextlib.suppress(OSError, ValueError, KeyError):
            fields = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            cached = int(fields["inactive_file"]) + int(fields["active_file"])  # given up when memory is wanted
            most, now = (int((folder / file).read_text()) for file in files)
            limits.append(most - now + cached)
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    if most != resource.RLIM_INFINITY:
        limits.append(most - _pages(0))
    return max(0, min(limits))


def _groups() -> Iterator[tuple[Path, tuple[str, str]]]:
    """Where containers and batch systems say that this process may have less than the machine: (folder, (most, now)).

    The group of the process and those around it, in version 2 of Linux's control groups and in version 1.
    """
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = _MEMBERSHIP.read_text().splitlines()
    own = {kind: Path(path.lstrip("/")) for _, kind, path in (line.split(":", 2) for line in lines)}
    for kind, files in _GROUP_FILES.items():
        path = own.get(kind, Path())
        for group in (path, *path.parents):
            yield _GROUPS / kind / group, files


def forecast(run: object, agents: int, soon: int, at_most: int) -> str:
    """One sentence on what a run holds, what it takes at once (`soon`) and what it may take in time (`at_most`), bytes.

    Errors: `NotEnoughMemoryError` if what it takes at once would not fit. What is held but was never touched (zeros) is
    not taken from the machine yet, so it counts as far as the process is smaller.
    """
    hand_back()
    total = held(run) + soon
    require(total - _resident(), "the run")
    grows = f" and at most {gib(at_most)} GiB more as the table grows" if at_most else ""
    there = free()
    left = "" if there is None else f"; {gib(there)} GiB are free"
    return f"memory: {size(round(total / agents))} bytes per agent, {gib(total)} GiB{grows}{left}"


def require(needed: int, what: str) -> None:
    """Errors: `NotEnoughMemoryError` if `needed` bytes for `what` would leave less than a twentieth of what is free."""
    there = free()
    if there is not None and needed > (1.0 - _KEPT_FREE) * there:
        raise NotEnoughMemoryError(f"{what} needs {gib(needed)} GiB and {gib(there)} GiB of memory are free")


def hand_back() -> None:
    """What building the run needed for a moment goes back to the machine, where the C library can do that (glibc)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _resident() -> int:
    return _pages(1)


def _pages(field: int) -> int:
    """Bytes of address space (field 0) or of memory (1) that this process has; 0 where that cannot be known."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[field]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return 0


def _inside(part: Any) -> list[Any]:
    if type(part).__module__.startswith(("numba", "llvmlite")):
        return []
    if isinstance(part, dict):
        return list(part.values())
    if isinstance(part, (list, tuple, set)):
        return list(part)
    if isinstance(part, (type, ModuleType)) or (callable(part) and not isinstance(part, nn.Module)):
        return []
    inside = getattr(part, "__dict__", None)
    return list(inside.values()) if isinstance(inside, dict) else []
