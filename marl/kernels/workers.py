"""The threads over which compiled kernels spread replicas."""

from numba import config, get_num_threads, set_num_threads


def use(threads: int) -> None:
    """Uses so many threads from now on, or as many as there are cores if that is fewer."""
    set_num_threads(min(threads, config.NUMBA_NUM_THREADS))  # type: ignore[attr-defined]


def working(replicas: int) -> int:
    """How many replicas are worked on at a time."""
    return min(replicas, get_num_threads())
