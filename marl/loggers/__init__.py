"""Where the numbers of a run go. TensorBoard is imported only when it is asked for."""

from typing import TYPE_CHECKING, Any

from marl.loggers.arrays import ArrayLogger
from marl.loggers.progress import ProgressLogger

if TYPE_CHECKING:
    from marl.loggers.tensorboard import TensorBoardLogger

__all__ = ["ArrayLogger", "ProgressLogger", "TensorBoardLogger"]


def __getattr__(name: str) -> Any:
    if name == "TensorBoardLogger":
        from marl.loggers.tensorboard import TensorBoardLogger

        return TensorBoardLogger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
