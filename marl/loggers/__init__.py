"""The numbers of a run go to loggers. Each is imported on first use: TensorBoard and torch take their time."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marl.loggers.arrays import ArrayLogger
    from marl.loggers.progress import ProgressLogger
    from marl.loggers.tensorboard import TensorBoardLogger

__all__ = ["ArrayLogger", "ProgressLogger", "TensorBoardLogger"]

_MODULES = {"ArrayLogger": "arrays", "ProgressLogger": "progress", "TensorBoardLogger": "tensorboard"}


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(f"marl.loggers.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
