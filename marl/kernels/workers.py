"""The threads over which compiled kernels spread replicas."""

import contextlib
from collections.abc import Iterator

from numba import config, get_num_threads, set_num_threads


def use(threads: int) -> None:
    """Uses so many threads from now on, or as many as there are cores if that is fewer."""
    set_num_threads(min(threads, config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


def working(replicas: int) -> int:
    """How many replicas are worked on at a time."""
    return min(replicas, get_num_threads())


@contextlib.contextmanager
def no_more_than(replicas: int) -> Iterator[None]:
    """Wakes no thread that would find nothing to do: idle ones wait by spinning."""
    before = get_num_threads()
    set_num_threads(working(replicas))
    try:
        yield
    finally:
        set_num_threads(before)
