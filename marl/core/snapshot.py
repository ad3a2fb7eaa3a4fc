"""What `state_dict()` returns is a snapshot: whatever happens afterwards does not change it."""

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import numpy as np
from torch import Tensor, nn

_uncopied = ContextVar("_uncopied", default=False)
_leaving: ContextVar[contextlib.ExitStack | None] = ContextVar("_leaving", default=None)


@contextlib.contextmanager
def uncopied() -> Iterator[None]:
    """Makes every `state_dict()` inside give what is there, for a state of which the outermost part makes the copy."""
    before = _uncopied.set(True)
    try:
        yield
    finally:
        _uncopied.reset(before)


@contextlib.contextmanager
def in_place() -> Iterator[None]:
    """Makes every `state_dict()` inside give what is there, for a state that is written, and let go, inside.

    A large table is then held once, not twice. A part may bring what it holds into the order in which it is written, if
    it says with `put_back_later` how to undo that; nothing else may be done with the parts until then.
    """
    with uncopied(), contextlib.ExitStack() as leaving:
        before = _leaving.set(leaving)
        try:
            yield
        finally:
            _leaving.reset(before)


def put_back_later(undo: Callable[[], None]) -> bool:
    """Has `undo` called at the end of `in_place`. False outside of it: nothing may be brought into another order."""
    leaving = _leaving.get()
    if leaving is not None:
        leaving.callback(undo)
    return leaving is not None


def snapshot(state: Any) -> Any:
    """Copies a state, nested as it may be; inside `uncopied` it is returned as it is."""
    return state if _uncopied.get() else _copied(state)


class SnapshotModule(nn.Module):
    """This is a torch module whose `state_dict()` is a snapshot; `keep_vars=True` gives the parameters themselves.

    What is not a tensor, extra state, is copied when it is loaded, too.
    """

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **options: Any) -> Any:
        """Loads a state as any torch module does."""
        kept: Any = copy.copy(state_dict)  # an OrderedDict of torch keeps its metadata
        kept.update({name: snapshot(part) for name, part in state_dict.items() if not isinstance(part, Tensor)})
        return super().load_state_dict(kept, *args, **options)

    def state_dict(self, *args: Any, destination: Any = None, prefix: str = "", keep_vars: bool = False) -> Any:
        """Returns parameters, buffers that are saved and extra state by name, copied unless `keep_vars` is set."""
        with uncopied():
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
