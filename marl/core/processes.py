"""What is given to another process arrives whole."""

import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any

from marl.core.errors import ConfigError


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
