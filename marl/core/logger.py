"""A logger is where the numbers of a run go."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import numpy as np

Metrics = Mapping[str, float | np.ndarray]
"""tag -> one number, or one per replica [B], or one per replica and agent [B, n]."""


@runtime_checkable
class Logger(Protocol):
    """Receives the metrics of every log point, in increasing order of `step` (environment steps so far)."""

    def log(self, step: int, metrics: Metrics) -> None:
        """Stores or shows the metrics of one log point."""

    def flush(self) -> None:
        """Everything logged so far reaches the disk."""

    def close(self) -> None:
        """Flushes; nothing is logged afterwards."""
