"""Compiled kernels spread replicas over these threads. None is started before there is something to spread."""

import contextlib
import os
from collections.abc import Iterator

from numba import config, set_num_threads

_most: int = config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
_allowed = _most
_started_by: int | None = None
"""The process that has started threads."""


def use(threads: int) -> None:
    """Uses so many threads from now on, or as many as there are cores if that is fewer."""
    global _allowed
    _allowed = min(threads, _most)


def allowed() -> int:
    """Says how many threads there may be."""
    return _allowed


def working(replicas: int) -> int:
    """Says how many replicas are worked on at a time. 1 means: in turn, without the threads.

    Threads do not survive a fork: where a parent process has started them, its children work in turn.
    """
    return min(replicas, _allowed) if _started_by in (None, os.getpid()) else 1


@contextlib.contextmanager
def no_more_than(replicas: int) -> Iterator[bool]:
    """Says whether to use threads, of which none is woken that has nothing to do: idle ones wait by spinning."""
    global _started_by
    count = working(replicas)
    if count > 1:
        _started_by = os.getpid()
        set_num_threads(count)
    yield count > 1
