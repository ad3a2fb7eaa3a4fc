"""A hashed table has entries for what has been met so far: cells of key and value, in rows that grow."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marl.core.checks import gib
from marl.core.errors import NotEnoughMemoryError
from marl.core.memory import free, require
from marl.core.shapes import Pairs
from marl.core.snapshot import put_back_later
from marl.core.threads import spread
from marl.critics.storage import Storage

CELL = 16
"""Bytes of a slot."""
_FIRST_WIDTH = 2**12
_RESERVE = 64
"""How many times wider rows may become before all of them have to be moved, if memory allows."""


class HashStorage(Storage):
    """Keeps a slot for every joint pair visited so far; a row is widened before it is more than two thirds full.

    `cells` [slots + 1, 2]: key and bits of the value, side by side (see `marl.kernels.hash_table`); the last is `missing`.
    Rows grow in place: behind what is in use they have room that is zero and was never written, which takes no memory yet.
    """

    parts = frozenset({"entries", "filled"})
    grows = True
    cells: Tensor

    def __init__(self, replicas: int, dtype: torch.dtype, agents: int):
        super().__init__(replicas, dtype)
        self.width = np.full(replicas, max(_FIRST_WIDTH, 4 << agents.bit_length()))
        self.used = np.zeros(replicas, dtype=np.int64)
        self._make_rows(int(self.width[0]))
        for b in range(replicas):
            self._kernel.clear(self.row(b))

    @property
    def _kernel(self) -> Any:
        from marl.kernels import hash_table  # numba takes its time: only where a table is hashed

        return hash_table

    @property
    def never_written(self) -> int:
        """Counts the bytes of `cells` behind what is in use."""
        return int((self.stride - self.width).sum()) * CELL

    @property
    def bytes_held(self) -> int:
        return self.cells.nbytes - self.never_written

    def cells_by_replica(self) -> np.ndarray:
        """Returns the cells of every replica, to be changed in place, [B, stride, 2]."""
        return self.cells[:-1].view(self.replicas, self.stride, 2).numpy()

    def row(self, b: int) -> np.ndarray:
        """Returns those of replica b that are in use, [width, 2]."""
        return self.cells_by_replica()[b, : self.width[b]]

    def saved(self) -> dict[str, list[Tensor]]:
        """Returns the `entries` of every row [used, 2] in the order of their slots, and which slots are `filled` [width].

        Half of the slots are empty, or more: they cost a byte each.
        """
        filled = [np.empty(width, dtype=np.bool_) for width in self.width]
        rows = [self.row(b) for b in range(self.replicas)]
        if put_back_later(lambda: self._unpack(rows, filled)):
            packed = rows
        else:
            packed = [np.empty((used, 2), dtype=np.int64) for used in self.used]
        for b, row in enumerate(rows):
            self._kernel.pack(row, filled[b], packed[b])
        entries = [torch.from_numpy(packed[b][: self.used[b]]) for b in range(self.replicas)]
        return {"entries": entries, "filled": [torch.from_numpy(row) for row in filled]}

    def load(self, *, entries: Sequence[Tensor], filled: Sequence[Tensor]) -> None:  # type: ignore[override]
        if not len(entries) == len(filled) == self.replicas:
            raise ValueError("the saved table is of another number of replicas")
        if any(part.shape[1:] != (2,) or part.dtype != torch.int64 or (part[:, 0] < 0).any() for part in entries):
            raise ValueError("the saved table has entries that no table has")
        if any(part.dtype != torch.bool or part.dim() != 1 or len(part).bit_count() != 1 for part in filled):
            raise ValueError("the saved table has rows of a length that no table has")
        if any(int(part.sum()) != len(listed) for part, listed in zip(filled, entries, strict=True)):
            raise ValueError("the saved table has fewer entries, or more, than slots that are filled")
        self._make_rows(max(len(part) for part in filled))
        self.width = np.array([len(part) for part in filled])
        self.used = np.array([len(part) for part in entries])
        self._unpack([part.numpy() for part in entries], [part.numpy() for part in filled])

    def _unpack(self, packed: list[np.ndarray], filled: list[np.ndarray]) -> None:
        """Fills the rows with what was packed, which may stand at their beginnings."""
        for b in range(self.replicas):
            self._kernel.unpack(packed[b][: self.used[b]], filled[b], self.row(b))

    def find(self, keys: Pairs) -> Pairs:
        slots = torch.empty(keys.shape, dtype=torch.int64)
        flat = keys.flatten(end_dim=-2).numpy(), self.missing, slots.flatten(end_dim=-2).numpy()
        self._kernel.find(self.cells_by_replica(), self.width, *flat)
        return slots

    def insert(self, keys: Pairs) -> None:
        self._kernel.insert(self.cells_by_replica(), self.width, keys.flatten(end_dim=-2).numpy(), self.used)

    def growth(self, entries: np.ndarray) -> int:
        return int((self.wider(entries) - self.width).sum()) * CELL

    def make_room(self, entries: np.ndarray) -> bool:
        wider = self.wider(entries)
        if not (wider > self.width).any():
            return False
        moves = wider.max() > self.stride
        require(int((wider if moves else wider - self.width).sum()) * CELL, "the table of the critic has to grow; that")
        self.grow(wider)
        return True

    def wider(self, entries: np.ndarray) -> np.ndarray:
        """Returns the widths [B] for so many entries [B]: those of now, doubled until two thirds are enough."""
        wider = self.width.copy()
        while (short := 3 * entries > 2 * wider).any():
            wider[short] *= 2
        return wider

    def grow(self, wider: np.ndarray) -> None:
        """Widens the rows to the widths given [B], at least those of now, moving entries along."""
        if wider.max() > self.stride:
            rows = [self.row(b) for b in range(self.replicas)]
            self._make_rows(int(wider.max()))
            for b, row in enumerate(rows):
                self.row(b)[:] = row
        with spread(self.replicas) as threaded:
            if threaded:
                self._kernel.widen(self.cells_by_replica(), self.width, wider)
            else:
                for b, row in enumerate(self.cells_by_replica()):
                    self._kernel.widen_one(row, self.width[b], wider[b])
        self.width = wider

    def fused(self, **keys: Any) -> Any:
        from marl.kernels.critic_tables import HashTable  # numba takes its time: only where it is used

        words = self.cells_by_replica().reshape(self.replicas, -1)
        values = words.view(self.values().numpy().dtype)
        return HashTable(**keys, values=values, words=words, width=self.width, used=self.used)

    def values(self) -> Tensor:
        at = 8 // self.dtype.itemsize  # float32: the lower half of the word
        return self.cells.view(self.dtype)[:, at : at + 1]

    def _make_rows(self, width: int) -> None:
        """Makes rows with room for so many cells, and for more if memory is free; nothing is written but `missing`."""
        stride, there = width, free() or 0
        while stride < _RESERVE * width and 4 * self.replicas * stride * CELL <= there:
            stride *= 2
        try:
            cells = np.zeros((self.replicas * stride + 1, 2), dtype=np.int64)
        except MemoryError:  # even address space may be limited
            raise NotEnoughMemoryError(
                f"the table of the critic needs {gib(self.replicas * stride * CELL)} GiB and the system does not give them"
            ) from None
        self.stride, self.cells = stride, torch.from_numpy(cells)
        self.cells[-1] = torch.tensor([self._kernel.EMPTY, 0])

    def __getstate__(self) -> dict[str, Any]:
        """Gives a copy what is in use."""
        return {"replicas": self.replicas, "dtype": self.dtype, "saved": self.saved()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.replicas, self.dtype = state["replicas"], state["dtype"]
        self.load(**state["saved"])
