"""The hash table uses open addressing with linear probing: one row of cells per replica, shared by its agents.

A cell is two words side by side, so that both lie in one cache line: a key (int64 >= 0), or -1 where there is none, and the
bits of its value. Rows have a power of two of cells; every probe loop is bounded by the row, and a caller that keeps
rows at most two thirds full never meets the bound.
"""

import numpy as np
from numba import prange

from marl.kernels.compiled import cached_njit

EMPTY = -1
_MULTIPLIER = np.uint64(0x23A74C222BDB963F)
"""One of 3,000 odd numbers, with which keys in a row, as kappa = 0 has them, hardly meet in rows of 2^10 to 2^26 slots."""


@cached_njit()
def home(key: int, last: int) -> int:
    """Returns the slot where the search for `key` starts, in a row whose last slot is `last` = 2^k - 1, k <= 32.

    Bits 32 to 31 + k of a product in which every bit of the key has a say: a row twice as wide has home or home + 2^k.
    """
    folded = np.uint64(key) ^ (np.uint64(key) >> np.uint64(32))
    return np.int64((folded * _MULTIPLIER) >> np.uint64(32)) & last  # type: ignore[return-value]


@cached_njit()
def probe(row: np.ndarray, key: int) -> int:
    """Returns the slot of `key`, or of the gap where it belongs; -1 if the row is full. Shapes: row [width, 2]."""
    last = len(row) - 1
    slot = home(key, last)
    for _ in range(len(row)):
        if row[slot, 0] == key or row[slot, 0] == EMPTY:
            return slot
        slot = (slot + 1) & last
    return -1


@cached_njit()
def find(cells: np.ndarray, width: np.ndarray, keys: np.ndarray, missing: int, slots: np.ndarray) -> None:
    """slots[k, i] = b * stride + slot of keys[k, i] in row b = k mod B, or `missing`.

    Shapes: cells [B, stride, 2], of which row b has width[b] in use, width [B], keys, slots [K B, n].
    """
    replicas, stride, _ = cells.shape
    for k in range(keys.shape[0]):
        b = k % replicas
        row = cells[b, : width[b]]
        for i in range(keys.shape[1]):
            slot = probe(row, keys[k, i])
            slots[k, i] = b * stride + slot if slot >= 0 and row[slot, 0] != EMPTY else missing


@cached_njit()
def insert(cells: np.ndarray, width: np.ndarray, keys: np.ndarray, used: np.ndarray) -> None:
    """Adds keys[k] to row k mod B where they are missing, counted in used [B].

    Shapes: cells [B, stride, 2], width [B], keys [K B, n].
    """
    replicas = cells.shape[0]
    for k in range(keys.shape[0]):
        b = k % replicas
        row = cells[b, : width[b]]
        for i in range(keys.shape[1]):
            slot = probe(row, keys[k, i])
            if slot < 0:
                raise MemoryError("hash table row is full")
            if row[slot, 0] == EMPTY:
                row[slot, 0] = keys[k, i]
                used[b] += 1


@cached_njit(parallel=True)
def widen(cells: np.ndarray, width: np.ndarray, wider: np.ndarray) -> None:
    """Widens row b from width[b] to wider[b] cells in use, in place. Shapes: cells [B, stride, 2], width, wider [B]."""
    for b in prange(len(cells)):
        widen_one(cells[b], width[b], wider[b])


@cached_njit()
def widen_one(row: np.ndarray, width: int, wider: int) -> None:
    """Does what `widen` does for one row, which has a gap, doubling by doubling.

    An entry at slot k of the old row either stays or goes `width` slots on, or less far if there is a gap: entries are
    taken out and put back one by one, going around from behind a gap, so that no entry is put where one still stands that
    has to be moved, and none that has been put back is cut off from its home.
    """
    while width < wider:
        twice = row[: 2 * width]
        clear(twice[width:])
        gap = 0
        while twice[gap, 0] != EMPTY and gap < width - 1:
            gap += 1
        for step in range(1, width):
            k = (gap + step) & (width - 1)
            key, value = twice[k, 0], twice[k, 1]
            if key != EMPTY:
                twice[k, 0], twice[k, 1] = EMPTY, 0
                slot = probe(twice, key)
                twice[slot, 0], twice[slot, 1] = key, value
        width *= 2


@cached_njit()
def pack(row: np.ndarray, filled: np.ndarray, packed: np.ndarray) -> None:
    """Lists the entries of a row in the order of their slots, and which slots have one.

    Shapes: row [width, 2], filled [width], packed [entries or more, 2], which may be the row itself.
    """
    count = 0
    for k in range(len(row)):
        filled[k] = row[k, 0] != EMPTY
        if filled[k]:
            packed[count, 0], packed[count, 1] = row[k, 0], row[k, 1]
            count += 1


@cached_njit()
def unpack(packed: np.ndarray, filled: np.ndarray, row: np.ndarray) -> None:
    """Undoes `pack`, from the last slot on: where `packed` is the row itself, no entry is written over before it is read.

    Shapes: packed [entries, 2], filled [width], with as many entries, row [width, 2].
    """
    count = len(packed)
    for k in range(len(row) - 1, -1, -1):
        if filled[k]:
            count -= 1
            row[k, 0], row[k, 1] = packed[count, 0], packed[count, 1]
        else:
            row[k, 0], row[k, 1] = EMPTY, 0


@cached_njit()
def clear(row: np.ndarray) -> None:
    """Leaves no entry in a row."""
    for k in range(len(row)):
        row[k, 0] = EMPTY
        row[k, 1] = 0
