"""The plan of a checkpoint is read before its tensors are: what it names, and how much memory it will take.

A checkpoint is a zip of a pickle, the plan, and of one member for the numbers of every storage. torch runs no code from
it (`weights_only`), but takes its word for sizes: a few bytes could ask for all of the memory, or for more than a
member holds.
"""

import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any, NamedTuple

from marl.core import archives

OPCODES = {
    *("PROTO", "STOP", "MARK", "BINPUT", "LONG_BINPUT", "BINGET", "LONG_BINGET", "GLOBAL", "BINPERSID", "REDUCE", "BUILD"),
    *("NONE", "NEWTRUE", "NEWFALSE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE"),
    *("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"),
    *("SETITEM", "SETITEMS", "APPEND", "APPENDS"),
}
"""What torch.save writes for tensors, numbers and strings in dictionaries, lists and tuples."""


STORAGES = {
    **dict.fromkeys(("Byte", "Char", "Bool"), 1),
    **dict.fromkeys(("Short", "Half", "BFloat16"), 2),
    **dict.fromkeys(("Int", "Float"), 4),
    **dict.fromkeys(("Long", "Double", "ComplexFloat"), 8),
    "ComplexDouble": 16,
}
"""Name of a storage -> bytes of a number in it."""


class _Tensor(NamedTuple):
    bytes: int


class _Plan(pickle.Unpickler):
    """This reads the plan with a stand-in for every tensor."""

    def __init__(self, content: bytes, storages: dict[str, int]):
        super().__init__(io.BytesIO(content))
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        """Finds what a plan may name."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _parameter
        if (module, name) == ("torch", "Size"):
            return tuple
        if module == "torch" and name.removesuffix("Storage") in STORAGES:
            return STORAGES[name.removesuffix("Storage")]
        raise ValueError(f"names {module}.{name}")

    def persistent_load(self, description: Any) -> tuple[int, int]:
        """Returns (numbers in a storage, bytes of each)."""
        kind, itemsize, key, _, count = description
        if kind != "storage" or type(count) is not int or count * itemsize != self._storages[key]:
            raise ValueError(f"storage {key} of another size")
        return count, int(itemsize)


def check(path: Path) -> None:
    """Errors: ValueError, KeyError and others if it is no checkpoint, or would take more memory than the file explains."""
    size = path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("a compressed member")
        if len(set(names)) < len(names) or sum(member.file_size for member in members) > size:
            raise ValueError("members that overlap")
        folder = names[0].partition("/")[0]
        if any(name.partition("/")[0] != folder for name in names):
            raise ValueError("several folders")
        content = archive.read(f"{folder}/data.pkl")
    for code, argument, _ in pickletools.genops(content):
        if code.name not in OPCODES or (code.name == "LONG_BINPUT" and (argument or 0) > len(content)):
            raise ValueError(f"{code.name} in the plan")
    prefix = f"{folder}/data/"
    storages = {member.filename.removeprefix(prefix): member.file_size for member in members}
    plan = _Plan(content, storages).load()
    total = 0
    for number, part in enumerate(archives.parts(plan)):
        total += part.bytes if isinstance(part, _Tensor) else 0
        if number > size or total > archives.room(size):
            raise ValueError("parts without end")


def _tensor(storage: tuple[int, int], offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any) -> _Tensor:
    count, itemsize = storage
    numbers = math.prod(shape)
    last = offset + sum((length - 1) * step for length, step in zip(shape, stride, strict=True))
    if min((offset, *shape, *stride)) < 0 or (numbers and last >= count):
        raise ValueError("a tensor beyond its storage")
    return _Tensor(numbers * itemsize)


def _parameter(tensor: _Tensor, *_: Any) -> _Tensor:
    return tensor
