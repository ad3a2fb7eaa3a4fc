"""Open addressing with linear probing: one row of cells per replica, shared by its agents.

A cell is two words side by side, so that both lie in one cache line: a key (int64 >= 0), or -1 where there is none, and the
bits of its value. Rows have a power of two of cells; every probe loop is bounded by the row, and a caller that keeps
rows at most two thirds full never meets the bound.
"""

import numpy as np
from numba import njit, prange

EMPTY = -1
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True)
def shift_of(width: int) -> int:
    """64 - log2(width), for a width that is a power of two: what `home` needs to know of a row. 64 for no row at all."""
    shift = 64
    while width > 1:
        width >>= 1
        shift -= 1
    return shift


@njit(cache=True)
def home(key: int, shift: int) -> int:
    """The slot where the search for `key` starts, in a row of 2^(64 - shift) slots."""
    return np.int64((np.uint64(key) * _GOLDEN) >> np.uint64(shift))  # type: ignore[return-value]


@njit(cache=True)
def probe(row: np.ndarray, key: int, shift: int) -> int:
    """The slot of `key`, or of the gap where it belongs; -1 if the row is full. Shapes: row [width, 2]."""
    slot = home(key, shift)
    last = len(row) - 1
    for _ in range(len(row)):
        if row[slot, 0] == key or row[slot, 0] == EMPTY:
            return slot
        slot = (slot + 1) & last
    return -1


@njit(cache=True)
def find(cells: np.ndarray, keys: np.ndarray, shift: int, missing: int, slots: np.ndarray) -> None:
    """slots[k, i] = b * width + slot of keys[k, i] in row b = k mod B, or `missing`.

    Shapes: cells [B, width, 2], keys, slots [K B, n].
    """
    replicas, width, _ = cells.shape
    for k in range(keys.shape[0]):
        b = k % replicas
        for i in range(keys.shape[1]):
            slot = probe(cells[b], keys[k, i], shift)
            slots[k, i] = b * width + slot if slot >= 0 and cells[b, slot, 0] != EMPTY else missing


@njit(cache=True)
def insert(cells: np.ndarray, keys: np.ndarray, shift: int, used: np.ndarray) -> None:
    """Adds keys[k] to row k mod B where they are missing, counted in used [B].

    Shapes: cells [B, width, 2], keys [K B, n].
    """
    replicas = cells.shape[0]
    for k in range(keys.shape[0]):
        b = k % replicas
        for i in range(keys.shape[1]):
            slot = probe(cells[b], keys[k, i], shift)
            if slot < 0:
                raise MemoryError("hash table row is full")
            if cells[b, slot, 0] == EMPTY:
                cells[b, slot, 0] = keys[k, i]
                used[b] += 1


@njit(cache=True, parallel=True)
def rehash(old: np.ndarray, shift: int, cells: np.ndarray) -> None:
    """Moves every cell of old into wider rows whose shift is given; what they hold is overwritten.

    Homes are the upper bits of a hash, so that both are walked from left to right. Shapes: old [B, w, 2], cells [B, W, 2].
    """
    for b in prange(old.shape[0]):
        rehash_one(old[b], shift, cells[b])


@njit(cache=True)
def rehash_one(old: np.ndarray, shift: int, cells: np.ndarray) -> None:
    """`rehash` for one row."""
    for k in range(len(cells)):
        cells[k, 0] = EMPTY
        cells[k, 1] = 0
    for k in range(len(old)):
        if old[k, 0] != EMPTY:
            slot = probe(cells, old[k, 0], shift)
            cells[slot, 0] = old[k, 0]
            cells[slot, 1] = old[k, 1]
