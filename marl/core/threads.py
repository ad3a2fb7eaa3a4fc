"""Threads of compiled loops leave those of torch as they are."""

import contextlib
from collections.abc import Iterator

import torch


@contextlib.contextmanager
def spread(replicas: int) -> Iterator[bool]:
    """Says whether to use threads in the compiled loop over replicas inside; torch keeps its own number of them.

    (Both may use one OpenMP library, and then the first compiled loop would give torch all cores, which makes small tensors
    several times slower.)
    """
    from marl.kernels.workers import no_more_than  # numba takes its time: only where it is used

    threads = torch.get_num_threads()
    try:
        with no_more_than(replicas) as threaded:
            yield threaded
    finally:
        torch.set_num_threads(threads)
