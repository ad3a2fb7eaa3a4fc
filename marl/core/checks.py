"""These functions check what a user typed. Each returns the cleaned value or raises `ConfigError` with one sentence."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from marl.core.errors import ConfigError

LARGEST = 2**62


def integer(name: str, value: Any, low: int) -> int:
    """Returns `value` as an int that is at least `low` (1e5 is accepted as 100000)."""
    if not (_is_real(value) and value == int(value)) or not low <= value < LARGEST:
        raise ConfigError(f"{name} must be a whole number of at least {low}, got {value!r}")
    return int(value)


def number(name: str, value: Any, low: float = -math.inf, high: float = math.inf) -> float:
    """Returns `value` as a finite float in [low, high]."""
    if not _is_real(value) or not low <= value <= high:
        span = "" if math.isinf(low) and math.isinf(high) else f" in [{low:g}, {high:g}]"
        raise ConfigError(f"{name} must be a finite number{span}, got {value!r}")
    return float(value)


def _is_real(value: Any) -> bool:
    """Says whether `value` is a finite number that a float can hold."""
    if not isinstance(value, (int, float, np.number)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def size(count: int) -> str:
    """Writes a number of things in few digits, however large."""
    if count < 10**4:
        return str(count)
    return f"{count:.3g}" if count < 10**300 else "over 1e300"


def gib(count: int) -> str:
    """Writes a number of bytes in GiB, however large."""
    return f"{count / 2**30:.3g}" if count < 10**300 else "over 1e290"


def choice(name: str, value: Any, allowed: Sequence[str]) -> str:
    """Returns `value`, one of `allowed`."""
    if value not in allowed:
        raise ConfigError(f"{name} must be one of {', '.join(allowed)}, got {value!r}")
    return str(value)


def boolean(name: str, value: Any) -> bool:
    """Returns `value`, true or false."""
    if not isinstance(value, bool):
        raise ConfigError(f"{name} must be true or false, got {value!r}")
    return value
