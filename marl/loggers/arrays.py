"""The metrics of a run are kept as arrays, for metrics.npz."""

from typing import Any

import numpy as np
import torch

from marl.core.logger import Metrics


class ArrayLogger:
    """Keeps every scalar and per-replica metric; of per-agent metrics [B, n] only the last, to stay small."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.last: dict[str, np.ndarray] = {}
        self._rows: dict[str, list[np.ndarray]] = {}

    def log(self, step: int, metrics: Metrics) -> None:
        self.steps.append(step)
        for tag, value in metrics.items():
            self.last[tag] = np.array(value, dtype=np.float64)  # a copy: what is logged may be written to later
            if self.last[tag].ndim < 2:
                self._rows.setdefault(tag, []).append(self.last[tag])

    def flush(self) -> None:
        """Does nothing: the arrays are part of the checkpoint."""

    def close(self) -> None:
        """Does nothing."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns `step` [L] and, by tag, [L] or [L, B]; L log points."""
        return {"step": np.array(self.steps, dtype=np.int64), **{tag: np.stack(rows) for tag, rows in self._rows.items()}}

    def state_dict(self) -> dict[str, Any]:
        """Returns a snapshot of everything logged so far, as tensors."""
        return {
            "rows": {tag: torch.from_numpy(array) for tag, array in self.arrays().items()},
            "last": {tag: torch.from_numpy(array.copy()) for tag, array in self.last.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues after the rows of `state`."""
        rows = {tag: tensor.numpy().copy() for tag, tensor in state["rows"].items()}
        self.steps = rows.pop("step").tolist()
        self._rows = {tag: list(array) for tag, array in rows.items()}
        self.last = {tag: tensor.numpy().copy() for tag, tensor in state["last"].items()}
