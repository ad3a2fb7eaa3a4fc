"""States, actions, sizes and masks may be given as whole numbers of any kind; inside they are int64 and bool tensors."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from marl.core.errors import ConfigError


def whole(name: str, given: Any) -> Tensor:
    """Returns whole numbers (a tensor or array of any integer kind, a list) as an int64 tensor, itself if it is one.

    Errors: `ConfigError` if they are something else.
    """
    if isinstance(given, Tensor) and given.dtype is torch.int64:
        return given
    try:
        found = torch.as_tensor(_of_this_machine(given) if isinstance(given, np.ndarray) else given)
    except (TypeError, ValueError, RuntimeError):  # words, rows of several lengths, numbers beyond 64 bits
        raise ConfigError(f"{name} must be whole numbers, got {_shown(given)}") from None
    if found.is_floating_point() or found.is_complex():
        raise ConfigError(f"{name} must be whole numbers, got {_shown(given)} of {str(found.dtype).removeprefix('torch.')}")
    return found.long()


def truths(name: str, given: Any) -> Tensor:
    """Returns what is true and false, written as such or as 1 and 0 of any integer kind, as a bool tensor.

    Errors: `ConfigError` if it is something else.
    """
    if isinstance(given, Tensor) and given.dtype is torch.bool:
        return given
    found = whole(name, given)
    if not ((found == 0) | (found == 1)).all():
        other = int(found[(found != 0) & (found != 1)][0])
        raise ConfigError(f"{name} must be true and false, or 1 and 0, got {other}")
    return found.bool()


def _of_this_machine(given: np.ndarray) -> np.ndarray:
    """Copies an array in the byte order that torch knows."""
    return np.array(given, dtype=given.dtype.newbyteorder("="))


def _shown(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 40 and "\n" not in text else f"a {type(given).__name__}"
