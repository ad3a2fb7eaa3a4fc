"""Some settings are one value for all agents, or a list with one for each."""

import math
from typing import Any

import numpy as np
from torch import Tensor

from marl.core.checks import integer, number
from marl.core.errors import ConfigError


def _listed(name: str, value: Any, length: int, of_what: str) -> list[Any]:
    if isinstance(value, (np.ndarray, Tensor)):
        value = value.tolist()
    if np.isscalar(value):
        return [value] * length
    try:
        values = list(value)
    except TypeError:
        raise ConfigError(f"{name} must be a number or a list of {length}, got {value!r}") from None
    if len(values) != length:
        raise ConfigError(f"{name} needs {length} values, one for each {of_what}, got {len(values)}")
    return values


def probabilities(name: str, value: Any, length: int, of_what: str) -> np.ndarray:
    """Returns a float64 array of `length` probabilities, from one number for all or a list with one per `of_what`."""
    return numbers(name, value, length, of_what, 0.0, 1.0)


def numbers(name: str, value: Any, length: int, of_what: str, low: float, high: float = math.inf) -> np.ndarray:
    """Returns a float64 array of `length` numbers in [low, high], from one for all or a list with one per `of_what`."""
    if np.isscalar(value):
        return np.full(length, number(f"{name}[0]", value, low, high))
    listed = _listed(name, value, length, of_what)
    return np.array([number(f"{name}[{k}]", v, low, high) for k, v in enumerate(listed)], dtype=np.float64)


def integers(name: str, value: Any, length: int, of_what: str, low: int) -> np.ndarray:
    """Returns an int64 array of `length` whole numbers, from one for all or a list with one per `of_what`."""
    if np.isscalar(value):
        return np.full(length, integer(f"{name}[0]", value, low), dtype=np.int64)
    listed = _listed(name, value, length, of_what)
    return np.array([integer(f"{name}[{k}]", v, low) for k, v in enumerate(listed)], dtype=np.int64)
