"""A thing is known again by a digest of all that it holds, the same in every process for what was made the same way."""

import contextlib
import functools
import hashlib
import io
import multiprocessing.process
import os
import random
import re
import subprocess
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import PurePath
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType, NoneType
from typing import Any

import numpy as np
import torch

from marl.core.network import Network

NUMBERS = frozenset((NoneType, bool, int, float, complex))
AT_WORK = (
    *(random.Random, np.random.Generator, np.random.RandomState, torch.Generator),
    *(threading.Thread, subprocess.Popen, multiprocessing.process.BaseProcess),
)
"""Left out: how far a generator has drawn, and the number of a process, are other ones in a thing that is made anew."""
DEEPEST = 100
"""Levels of nesting that are looked into."""
LONGEST_PATH = 4096
_MANGLED = re.compile(rb"[./]?___torch_mangle_\d+")
_MODULE = vars(torch.nn.Module())
_OF_A_MODULE = ("training", "_parameters", "_buffers", "_modules")


def digest_of(thing: Any, source: Callable[[FunctionType], str] = lambda function: compiled(function.__code__)) -> str:
    """Digests what `thing` holds: numbers, texts, arrays, tensors, parameters, functions, and what is made of them.

    A text or path that names a file stands for what is in the file, the full path of a directory for any. An object is
    what pickle would keep of it (`__getstate__` may leave out more), without cached properties. Not seen: the state of
    random generators and processes, files in a directory, what only compiled extensions hold, and more than 100 levels
    of nesting. source: what stands for a function, beside its defaults and what it encloses.
    """
    return _Reader(source).digest(thing).hex()


def compiled(code: CodeType) -> str:
    """Writes out what Python made of a function, but for where it stands."""
    constants = [compiled(part) if isinstance(part, CodeType) else digest_of(part) for part in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {constants}"


class _Reader:
    """This walks through one thing; what it met is known again by place, never by address."""

    def __init__(self, source: Callable[[FunctionType], str]):
        self._source = source
        self._known: dict[int, tuple[Any, bytes]] = {}  # holds on to the things, whose numbers would be given again
        self._above: dict[int, int] = {}

    def digest(self, x: Any) -> bytes:
        """Returns 32 bytes."""
        kind = type(x)
        if kind in NUMBERS:
            return _hash(kind.__name__, repr(x))
        if kind in (list, tuple) and NUMBERS.issuperset(map(type, x)):
            return _hash("numbers", kind.__name__, repr(x))
        if id(x) in self._above:
            return _hash("above", str(len(self._above) - self._above[id(x)]))
        if id(x) in self._known:
            return self._known[id(x)][1]
        if len(self._above) == DEEPEST:
            return _hash("deep", _name(kind))
        self._above[id(x)] = len(self._above)
        try:
            found = self._digest(x, kind)
        finally:
            del self._above[id(x)]
        self._known[id(x)] = x, found
        return found

    def _digest(self, x: Any, kind: type[Any]) -> bytes:
        if isinstance(x, (str, PurePath)):
            return _text(str(x))
        if kind in (bytes, bytearray):
            return _hash(kind.__name__, x)
        if isinstance(x, AT_WORK):
            return _hash("at work", _name(kind))
        if isinstance(x, (np.ndarray, np.generic)):
            return self._array(x, kind)
        if isinstance(x, torch.Tensor):
            return _tensor(x)
        if kind in (list, tuple):
            return _hash(kind.__name__, *map(self.digest, x))
        if kind in (set, frozenset):
            return _hash(kind.__name__, *sorted(map(self.digest, x)))
        if kind is dict or (isinstance(x, Mapping) and not isinstance(x, dict)):
            return _hash("mapping", _name(kind), *self._pairs(x.items()))
        if isinstance(x, FunctionType):
            return self._function(x)
        if isinstance(x, MethodType):
            return _hash("method", self.digest(x.__func__), self.digest(x.__self__))
        if callable(x) and hasattr(x, "__wrapped__"):  # with a cache, or compiled
            return _hash("wrapped", self.digest(x.__wrapped__))
        if isinstance(x, (type, BuiltinFunctionType, ModuleType)):
            return _hash("name", _name(x))
        return self._object(x, kind)

    def _array(self, x: Any, kind: type[Any]) -> bytes:
        array = np.asarray(x)
        more = self.digest(dict(vars(x))) if hasattr(x, "__dict__") and kind is not np.memmap else b""
        head = "array", kind.__name__, str(array.dtype), str(array.shape), more
        if array.dtype.hasobject:
            return _hash(*head, self.digest(array.tolist()))
        flat = np.ascontiguousarray(array).reshape(-1)
        return _hash(*head, flat.view(np.uint8).data if flat.nbytes else b"")

    def _function(self, x: FunctionType) -> bytes:
        held = [self.digest(part) for part in (x.__defaults__, x.__kwdefaults__)]
        for cell in x.__closure__ or ():
            try:
                held.append(self.digest(cell.cell_contents))
            except ValueError:  # not filled yet
                held.append(b"")
        return _hash("function", _name(x), self._source(x), *held)

    def _object(self, x: Any, kind: type[Any]) -> bytes:
        if isinstance(x, torch.jit.ScriptModule):  # its attributes are elsewhere
            return _hash("script", *_saved_script(x))
        if isinstance(x, torch.nn.Module):  # without what this version of torch happens to note about it
            kept = {key: value for key, value in vars(x).items() if key not in _MODULE or key in _OF_A_MODULE}
            return _hash("module", _name(kind), self.digest(_without_caches(x, kept)))
        try:
            reduced = x.__reduce_ex__(4)
        except Exception:  # it cannot be taken apart
            return self._closed(x, kind)
        if isinstance(reduced, str):
            return _hash("name", _name(kind), reduced)
        make, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
        if isinstance(state, tuple):  # (attributes, slots)
            state = tuple(_without_caches(x, part) for part in state)
        held = [self.digest(part) for part in (make, arguments, _without_caches(x, state))]
        listed = [self.digest(item) for item in items or ()]
        return _hash("object", _name(kind), *held, str(len(listed)), *listed, *self._pairs(pairs or ()))

    def _closed(self, x: Any, kind: type[Any]) -> bytes:
        """Reads data sets, open files and views of buffers; of other things there is the class alone."""
        if hasattr(kind, "__array__"):
            return _hash(_name(kind), self.digest(np.asarray(x)))
        if isinstance(x, memoryview):
            return _hash(_name(kind), x.tobytes())
        named = _text(x.name) if isinstance(getattr(x, "name", None), str) else b""
        return _hash(_name(kind), named, self.digest(_without_caches(x, dict(getattr(x, "__dict__", {})))))

    def _pairs(self, pairs: Iterable[tuple[Any, Any]]) -> list[bytes]:
        return sorted(_hash(self.digest(key), self.digest(value)) for key, value in pairs)


def _saved_script(x: torch.jit.ScriptModule) -> Iterator[bytes]:
    """Yields code and numbers of a compiled module, but for the numbers that torch tells classes of one name apart by."""
    content = io.BytesIO()
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        torch.jit.save(x, content)
    with zipfile.ZipFile(content) as archive:
        for name in sorted(archive.namelist()):
            if not any(part in name for part in ("debug_pkl", "serialization_id", "traced_inputs", "version")):
                yield from (_MANGLED.sub(b"", part) for part in (name.encode(), archive.read(name)))


def _without_caches(x: Any, state: Any) -> Any:
    """Leaves out what is filled when it is first asked for."""
    if not isinstance(state, dict):
        return state
    cached = {key for key in state if isinstance(getattr(type(x), str(key), None), functools.cached_property)}
    if isinstance(x, Network):
        cached.add("_neighborhoods")
    return {key: value for key, value in state.items() if key not in cached}


def _text(x: str) -> bytes:
    """Digests the file that a text names, if it looks like the name of one and there is one, else the text."""
    if len(x) < LONGEST_PATH and ("." in x or os.sep in x) and "\0" not in x:
        if os.path.isabs(x) and os.path.isdir(x):  # another one where the same things lie elsewhere
            return _hash("directory")
        if os.path.isfile(x):
            with contextlib.suppress(OSError), open(x, "rb") as file:
                return _hash("file", hashlib.file_digest(file, "sha256").digest())
    return _hash("text", x)


def _tensor(x: torch.Tensor) -> bytes:
    head = "tensor", str(x.dtype), str(tuple(x.shape))
    try:
        x = x.detach().cpu()
        if x.layout != torch.strided:
            x = x.to_sparse_coo().coalesce()
            return _hash(*head, _tensor(x.indices()), _tensor(x.values()))
        flat = x.resolve_conj().resolve_neg().contiguous().reshape(-1)
        return _hash(*head, flat.view(torch.uint8).numpy().data if flat.numel() else b"")
    except RuntimeError:  # it has no numbers, on the device "meta" for one
        return _hash(*head)


def _name(x: Any) -> str:
    return f"{getattr(x, '__module__', '')}.{getattr(x, '__qualname__', getattr(x, '__name__', ''))}"


def _hash(*parts: str | bytes | memoryview) -> bytes:
    """Hashes parts, each behind its length, so that no two lists of parts are one."""
    whole = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        whole.update(len(content).to_bytes(8, "little"))
        whole.update(content)
    return whole.digest()
