"""What `state_dict()` returns is a snapshot: whatever happens afterwards does not change it."""

import contextlib
import copy
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import numpy as np
from torch import Tensor, nn

_in_place = ContextVar("_in_place", default=False)


@contextlib.contextmanager
def in_place() -> Iterator[None]:
    """Makes every `state_dict()` inside give what is there, uncopied, for a state that is written before anything goes on.

    A large table is then held once, not twice.
    """
    before = _in_place.set(True)
    try:
        yield
    finally:
        _in_place.reset(before)


def snapshot(state: Any) -> Any:
    """Copies a state, nested as it may be; inside `in_place` it is returned as it is."""
    return state if _in_place.get() else _copied(state)


class SnapshotModule(nn.Module):
    """This is a torch module whose `state_dict()` is a snapshot; `keep_vars=True` gives the parameters themselves."""

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Returns parameters, buffers that are saved and extra state by name, copied unless `keep_vars` is set."""
        with in_place():
            state = super().state_dict(*args, destination=destination, prefix=prefix, keep_vars=keep_vars)
        if not keep_vars:
            state.update({name: snapshot(part) for name, part in state.items() if name.startswith(prefix)})
        return state


def _copied(state: Any) -> Any:
    """A tensor that is a view is copied alone, without the memory behind it."""
    if isinstance(state, Tensor):
        return state.detach().clone()
    if isinstance(state, np.ndarray):
        return state.copy()
    if isinstance(state, Mapping):
        made: Any = copy.copy(state)  # an OrderedDict of torch keeps its metadata
        made.update({name: _copied(part) for name, part in state.items()})
        return made
    if isinstance(state, list):
        return [_copied(part) for part in state]
    return copy.deepcopy(state)
