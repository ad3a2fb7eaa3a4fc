"""The memory that a run occupies and will need is forecast before it begins."""

import contextlib
import ctypes
import sys
from types import ModuleType, NoneType
from typing import Any

import numpy as np
from torch import Tensor, nn

from marl.core import memory
from marl.core.checks import gib, size

_NUMBERS = frozenset((NoneType, bool, int, float, complex))


def bytes_held(*parts: object) -> int:
    """Counts the bytes of all arrays, tensors and lists that can be reached from `parts`, each counted once.

    A part may say how many bytes of its arrays were never written, `never_written`: they are left out.
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
        elif isinstance(part, (list, tuple)) and _NUMBERS.issuperset(map(type, part)):  # a million lists are looked at so
            numbers = {id(x): x for x in part if id(x) not in seen}
            seen.update(numbers)
            total += sys.getsizeof(part) + sum(map(sys.getsizeof, numbers.values()))
        else:
            total += sys.getsizeof(part) - getattr(part, "never_written", 0)
            waiting += _inside(part)
    return total


def forecast(run: object, agents: int, soon: int, at_most: int) -> str:
    """Says in one sentence what a run holds, what it takes at once (`soon`) and may take in time (`at_most`), in bytes.

    Errors: `NotEnoughMemoryError` if what it takes at once would not fit. What is held but was never touched (zeros) is
    not taken from the machine yet, so it counts as far as the process is smaller.
    """
    return_freed()
    total = bytes_held(run) + soon
    memory.require(total - _resident(), "the run")
    grows = f" and at most {gib(at_most)} GiB more as the table grows" if at_most else ""
    there = memory.free()
    left = "" if there is None else f"; {gib(there)} GiB are free"
    return f"memory: {size(round(total / agents))} bytes per agent, {gib(total)} GiB{grows}{left}"


def return_freed() -> None:
    """Returns what building the run needed for a moment to the machine, where the C library can do that (glibc)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _resident() -> int:
    return memory.process_bytes(1)


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
