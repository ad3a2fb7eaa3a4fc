"""Where the entries of a truncated table live: key -> slot, one row of slots per replica.

Slot numbers run over all rows, b * width + k. `missing`, one past the last slot, stands for "no entry".
"""

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from marl.core.fused import spread
from marl.core.shapes import Pairs

_FIRST_WIDTH = 2**12


class Storage(ABC):
    """`table` [B, width] holds the key of every slot, or is None where the key is the slot."""

    width: int
    table: Tensor | None = None
    used: np.ndarray
    """Entries per replica [B]."""

    def __init__(self, replicas: int):
        self.replicas = replicas

    @property
    def missing(self) -> int:
        """The slot of a pair that has no entry."""
        return self.replicas * self.width

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

    def find(self, keys: Pairs) -> Pairs:
        return self._row + keys

    def entries(self) -> Tensor:
        return torch.from_numpy(self.used.copy())


def least_width(entries: int) -> int:
    """The smallest power of two of which so many entries fill at most two thirds."""
    return 1 << max(0, (3 * entries + 1) // 2 - 1).bit_length()


class HashStorage(Storage):
    """A slot for every joint pair visited so far; rows are widened before they are more than two thirds full."""

    table: Tensor

    def __init__(self, replicas: int, agents: int):
        super().__init__(replicas)
        from marl.kernels import hash_table  # numba takes its time: only where a table is hashed

        self._kernel = hash_table
        self.use(self._empty(max(_FIRST_WIDTH, 4 << agents.bit_length())))

    def use(self, table: Tensor, used: np.ndarray | None = None) -> None:
        """Takes over a table of keys [B, width] with so many entries; width is a power of two."""
        self.table = table
        self.width = table.shape[1]
        self._shift = self._kernel.shift_of(self.width)
        self.used = (table >= 0).sum(dim=1).numpy() if used is None else used

    def find(self, keys: Pairs) -> Pairs:
        slots = torch.empty(keys.shape, dtype=torch.int64)
        rows = keys.flatten(end_dim=-2).numpy(), self._shift, self.missing, slots.flatten(end_dim=-2).numpy()
        self._kernel.find(self.table.numpy(), *rows)
        return slots

    def insert(self, keys: Pairs) -> None:
        """Makes entries for keys [*K, B, n]; the caller has made room."""
        self._kernel.insert(self.table.numpy(), keys.flatten(end_dim=-2).numpy(), self._shift, self.used)

    def grow(self, old_values: np.ndarray, values: np.ndarray) -> None:
        """Widens the rows to those of `values`, moving entries along. Shapes: old_values [B, width], values [B, W]."""
        table, used = np.empty(values.shape, dtype=np.int64), self.used
        shift = self._kernel.shift_of(values.shape[1])
        with spread(self.replicas) as threaded:
            if threaded:
                self._kernel.rehash(self.table.numpy(), old_values, shift, table, values)
            else:
                for rows in zip(self.table.numpy(), old_values, table, values, strict=True):
                    self._kernel.rehash_one(*rows[:2], shift, *rows[2:])
        self.use(torch.from_numpy(table), used)

    def entries(self) -> Tensor:
        return torch.from_numpy(self.used.copy())

    def _empty(self, width: int) -> Tensor:
        return torch.full((self.replicas, width), self._kernel.EMPTY)
