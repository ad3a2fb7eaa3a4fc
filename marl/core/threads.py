"""Threads of compiled loops leave those of torch as they are, and a forked process does without."""

import contextlib
import functools
import os
from collections.abc import Iterator

import torch

_forked = False
"""Whether this process is the child of one whose threads it does not have."""


@functools.cache
def survive_forks() -> None:
    """Lets every process that is forked from now on work on one thread, torch and compiled loops alike.

    OpenMP's threads, which both use, do not survive a fork and would be waited for for ever. The parent keeps its own.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_lose_threads)


def _lose_threads() -> None:
    global _forked
    _forked = True
    torch.set_num_threads(1)


@contextlib.contextmanager
def spread(replicas: int) -> Iterator[bool]:
    """Says whether to use threads in the compiled loop over replicas inside; torch keeps its own number of them.

    (Both may use one OpenMP library, and then the first compiled loop would give torch all cores, which makes small tensors
    several times slower.)
    """
    from marl.kernels.workers import no_more_than  # numba takes its time: only where it is used

    threads = torch.get_num_threads()
    try:
        with no_more_than(1 if _forked else replicas) as threaded:
            yield threaded
    finally:
        torch.set_num_threads(threads)
