"""Where the entries of a truncated table live: key -> slot, one row of slots per replica.

Slot numbers run over all rows, b * width + k. `missing`, one past the last slot, stands for "no entry".
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marl.core.fused import spread
from marl.core.shapes import Pairs

CELL = 16
"""Bytes of a slot of a hash table."""
_FIRST_WIDTH = 2**12


class Storage(ABC):
    """`width` slots per replica."""

    width: int
    used: np.ndarray
    """Entries per replica [B]."""

    def __init__(self, replicas: int):
        self.replicas = replicas

    @property
    def missing(self) -> int:
        """The slot of a pair that has no entry."""
        return self.replicas * self.width

    @abstractmethod
    def values(self, dtype: torch.dtype) -> Tensor:
        """The value of every slot and of `missing`, to be changed in place, [slots + 1, 1]."""

    @abstractmethod
    def find(self, keys: Pairs) -> Pairs:
        """Slots of keys [*K, B, n], `missing` where there is none."""

    @abstractmethod
    def entries(self) -> Tensor:
        """Entries per replica [B]."""


class DenseStorage(Storage):
    """A slot for every joint pair; good while all of them fit. `width` is a multiple of a power of two near its root."""

    def __init__(self, replicas: int, total: int):
        super().__init__(replicas)
        block = 1 << (total.bit_length() // 2)
        self.width = -(-total // block) * block
        self._row = torch.arange(replicas)[:, None] * self.width
        self.used = np.full(replicas, total)

    def values(self, dtype: torch.dtype) -> Tensor:
        """New ones, all zero."""
        return torch.zeros(self.missing + 1, 1, dtype=dtype)

    def find(self, keys: Pairs) -> Pairs:
        return self._row + keys

    def entries(self) -> Tensor:
        return torch.from_numpy(self.used.copy())


def least_width(entries: int) -> int:
    """The smallest power of two of which so many entries fill at most two thirds."""
    return 1 << max(0, (3 * entries + 1) // 2 - 1).bit_length()


class HashStorage(Storage):
    """A slot for every joint pair visited so far; rows are widened before they are more than two thirds full.

    `cells` [slots + 1, 2]: key and bits of the value, side by side (see `marl.kernels.hash_table`); the last is `missing`.
    """

    cells: Tensor

    def __init__(self, replicas: int, agents: int):
        super().__init__(replicas)
        cells = self._room(max(_FIRST_WIDTH, 4 << agents.bit_length()))
        cells[:, 0], cells[:, 1] = self._kernel.EMPTY, 0
        self.use(cells)

    @property
    def _kernel(self) -> Any:
        from marl.kernels import hash_table  # numba takes its time: only where a table is hashed

        return hash_table

    def use(self, cells: Tensor, used: np.ndarray | None = None) -> None:
        """Takes over cells with so many entries. Errors: ValueError if they are of another number of replicas."""
        width, rest = divmod(len(cells) - 1, self.replicas)
        if rest or width & (width - 1):
            raise ValueError("the saved table is of another number of replicas")
        self.cells, self.width = cells, width
        self._shift = self._kernel.shift_of(width)
        self.used = (self.rows()[..., 0] >= 0).sum(axis=1) if used is None else used

    def rows(self) -> np.ndarray:
        """The cells of every replica, to be changed in place, [B, width, 2]."""
        return self.cells[:-1].view(self.replicas, self.width, 2).numpy()

    def values(self, dtype: torch.dtype) -> Tensor:
        at = 8 // dtype.itemsize  # float32: the lower half of the word
        return self.cells.view(dtype)[:, at : at + 1]

    def find(self, keys: Pairs) -> Pairs:
        slots = torch.empty(keys.shape, dtype=torch.int64)
        rows = keys.flatten(end_dim=-2).numpy(), self._shift, self.missing, slots.flatten(end_dim=-2).numpy()
        self._kernel.find(self.rows(), *rows)
        return slots

    def insert(self, keys: Pairs) -> None:
        """Makes entries for keys [*K, B, n]; the caller has made room."""
        self._kernel.insert(self.rows(), keys.flatten(end_dim=-2).numpy(), self._shift, self.used)

    def grow(self, width: int) -> None:
        """Widens the rows, moving entries along."""
        old, used, cells = self.rows(), self.used, self._room(width)
        cells[-1] = self.cells[-1]
        self.use(cells, used)
        with spread(self.replicas) as threaded:
            if threaded:
                self._kernel.rehash(old, self._shift, self.rows())
            else:
                for before, now in zip(old, self.rows(), strict=True):
                    self._kernel.rehash_one(before, self._shift, now)

    def entries(self) -> Tensor:
        return torch.from_numpy(self.used.copy())

    def _room(self, width: int) -> Tensor:
        return torch.from_numpy(np.empty((self.replicas * width + 1, 2), dtype=np.int64))
