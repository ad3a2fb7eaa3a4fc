"""What is given to another process arrives whole, and a forked process works."""

import functools
import os
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any

import torch

from marl.core.errors import ConfigError


@functools.cache
def survive_forks() -> None:
    """Lets torch work on one thread in every process that is forked from now on.

    OpenMP's threads do not survive a fork, and torch would wait for them for ever. The forking process keeps its own.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))


def send_copies(kind: type[Any]) -> None:
    """Makes `multiprocessing` send objects of exactly this class as copies.

    By itself torch would move their tensors to memory that both processes write to, away from every array that looks at it.
    """
    ForkingPickler.register(kind, _as_bytes)


def _as_bytes(part: Any) -> tuple[Any, tuple[bytes]]:
    try:
        return pickle.loads, (pickle.dumps(part),)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ConfigError(
            f"this {type(part).__name__} cannot go to another process: {error}; make it there, or give it parts "
            "that can be pickled (classes and functions of a module, no open files)"
        ) from None
