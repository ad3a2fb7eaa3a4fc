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
def find(cells: np.ndarray, width: np.ndarray, keys: np.ndarray, missing: int, slots: np.ndarray) -> None:
    """slots[k, i] = b * stride + slot of keys[k, i] in row b = k mod B, or `missing`.

    Shapes: cells [B, stride, 2], of which row b has width[b] in use, width [B], keys, slots [K B, n].
    """
    replicas, stride, _ = cells.shape
    for k in range(keys.shape[0]):
        b = k % replicas
        row, shift = cells[b, : width[b]], shift_of(width[b])
        for i in range(keys.shape[1]):
            slot = probe(row, keys[k, i], shift)
            slots[k, i] = b * stride + slot if slot >= 0 and row[slot, 0] != EMPTY else missing


@njit(cache=True)
def insert(cells: np.ndarray, width: np.ndarray, keys: np.ndarray, used: np.ndarray) -> None:
    """Adds keys[k] to row k mod B where they are missing, counted in used [B].

    Shapes: cells [B, stride, 2], width [B], keys [K B, n].
    """
    replicas = cells.shape[0]
    for k in range(keys.shape[0]):
        b = k % replicas
        row, shift = cells[b, : width[b]], shift_of(width[b])
        for i in range(keys.shape[1]):
            slot = probe(row, keys[k, i], shift)
            if slot < 0:
                raise MemoryError("hash table row is full")
            if row[slot, 0] == EMPTY:
                row[slot, 0] = keys[k, i]
                used[b] += 1


@njit(cache=True, parallel=True)
def widen(cells: np.ndarray, width: np.ndarray, wider: np.ndarray) -> None:
    """Every row b from width[b] to wider[b] cells in use, in place. Shapes: cells [B, stride, 2], width, wider [B]."""
    for b in prange(len(cells)):
        widen_one(cells[b], width[b], wider[b])


@njit(cache=True)
def widen_one(row: np.ndarray, width: int, wider: int) -> None:
    """`widen` for one row. Homes are the upper bits of a hash, so that old and new are walked from left to right."""
    if wider > width:
        old, shift = row[:width].copy(), shift_of(wider)
        clear(row[:wider])
        for k in range(width):
            if old[k, 0] != EMPTY:
                slot = probe(row[:wider], old[k, 0], shift)
                row[slot, 0] = old[k, 0]
                row[slot, 1] = old[k, 1]


@njit(cache=True)
def clear(row: np.ndarray) -> None:
    """No entry in a row."""
    for k in range(len(row)):
        row[k, 0] = EMPTY
        row[k, 1] = 0
