"""A storage is where the entries of a truncated table live: key -> slot, one row of slots per replica.

Slot numbers run over all rows, b * stride + k. `missing`, one past the last slot, stands for "no entry".
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from marl.core.shapes import Pairs


class Storage(ABC):
    """A storage is a row of `stride` slots per replica, of which the first `width` [B] are in use.

    parts: the names of what is saved of it.
    grows: whether slots are made for what is met, or all are there from the start.
    used: how many entries a replica has, [B].
    """

    parts: frozenset[str]
    grows: bool
    stride: int
    width: np.ndarray
    used: np.ndarray

    def __init__(self, replicas: int, dtype: torch.dtype):
        self.replicas, self.dtype = replicas, dtype

    @property
    def missing(self) -> int:
        """Returns the slot of a pair that has no entry."""
        return self.replicas * self.stride

    @abstractmethod
    def values(self) -> Tensor:
        """Returns the value of every slot and of `missing`, to be changed in place [slots + 1, 1]; anew after it grew."""

    @property
    @abstractmethod
    def bytes_held(self) -> int:
        """Says how much memory it takes."""

    @abstractmethod
    def find(self, keys: Pairs) -> Pairs:
        """Finds the slots of keys [*K, B, n], `missing` where there is none."""

    @abstractmethod
    def insert(self, keys: Pairs) -> None:
        """Makes entries for keys [*K, B, n]; the caller has made room."""

    @abstractmethod
    def growth(self, entries: np.ndarray) -> int:
        """Counts the bytes by which it is larger once it has room for so many entries [B]."""

    @abstractmethod
    def make_room(self, entries: np.ndarray) -> bool:
        """Makes room for so many entries [B], and says whether anything moved. Errors: `NotEnoughMemoryError`."""

    @abstractmethod
    def saved(self) -> dict[str, list[Tensor]]:
        """Returns what is to be written of it, by name B tensors, one per replica; see `marl.core.snapshot.in_place`."""

    @abstractmethod
    def load(self, **saved: Sequence[Tensor]) -> None:
        """Takes over what was `saved`. Errors: ValueError, TypeError if it does not fit."""

    @abstractmethod
    def fused(self, **keys: Any) -> Any:
        """Returns the form that compiled loops change in place, see `marl.kernels.critic_tables`.

        keys: stride, base, dummy and keep.
        """


class DenseStorage(Storage):
    """Keeps a slot for every joint pair; good while all fit. `stride` is a multiple of a power of two near its root."""

    parts = frozenset({"rows"})
    grows = False

    def __init__(self, replicas: int, dtype: torch.dtype, total: int):
        super().__init__(replicas, dtype)
        block = 1 << (total.bit_length() // 2)
        self.stride = -(-total // block) * block
        self.width = np.full(replicas, self.stride)
        self.used = np.full(replicas, total)
        self._row = torch.arange(replicas)[:, None] * self.stride
        self._slot_values = torch.zeros(self.missing + 1, 1, dtype=dtype)

    @property
    def bytes_held(self) -> int:
        return self._slot_values.nbytes

    def values(self) -> Tensor:
        return self._slot_values

    def find(self, keys: Pairs) -> Pairs:
        return self._row + keys

    def insert(self, keys: Pairs) -> None:
        """Makes nothing: all entries are there."""

    def growth(self, entries: np.ndarray) -> int:
        return 0

    def make_room(self, entries: np.ndarray) -> bool:
        return False

    def saved(self) -> dict[str, list[Tensor]]:
        return {"rows": list(self._slot_values[:-1].view(self.replicas, self.stride))}

    def load(self, *, rows: Sequence[Tensor]) -> None:  # type: ignore[override]
        if len(rows) != self.replicas or any(row.shape != (self.stride,) or row.dtype != self.dtype for row in rows):
            raise ValueError("the saved table is of another number of replicas, size or precision")
        torch.stack(list(rows), out=self._slot_values[:-1].view(self.replicas, self.stride))

    def fused(self, **keys: Any) -> Any:
        from marl.kernels.critic_tables import DenseTable  # numba takes its time: only where it is used

        return DenseTable(**keys, values=self._slot_values[:-1].view(self.replicas, self.stride).numpy())
