"""Modules whose plain tensors move with their parameters."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn


class Movable(nn.Module):
    """`to(device)` moves tensors that are mere attributes too, and those in named tuples: index tables, masks, offsets."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Movable":
        super()._apply(fn, recurse)
        for name, value in vars(self).items():
            vars(self)[name] = _moved(fn, value)
        return self


def _moved(fn: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return fn(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_moved(fn, part) for part in value))
    return value
