"""Open addressing with linear probing: one row of slots per replica, shared by its agents.

A slot holds a key (int64 >= 0) or -1. Rows have a power of two of slots; every probe loop is bounded by the row, and
a caller that keeps rows at most two thirds full never meets the bound.
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
    """The slot of `key`, or of the gap where it belongs; -1 if the row is full."""
    slot = home(key, shift)
    last = len(row) - 1
    for _ in range(len(row)):
        if row[slot] == key or row[slot] == EMPTY:
            return slot
        slot = (slot + 1) & last
    return -1


@njit(cache=True)
def find(table: np.ndarray, keys: np.ndarray, shift: int, missing: int, slots: np.ndarray) -> None:
    """slots[k, i] = b * width + slot of keys[k, i] in row b = k mod B, or `missing`.

    Shapes: table [B, width], keys, slots [K B, n].
    """
    replicas, width = table.shape
    for k in range(keys.shape[0]):
        b = k % replicas
        for i in range(keys.shape[1]):
            slot = probe(table[b], keys[k, i], shift)
            slots[k, i] = b * width + slot if slot >= 0 and table[b, slot] != EMPTY else missing


@njit(cache=True)
def insert(table: np.ndarray, keys: np.ndarray, shift: int, used: np.ndarray) -> None:
    """Adds keys[k] to row k mod B where they are missing, counted in used [B]. Shapes: table [B, width], keys [K B, n]."""
    replicas = table.shape[0]
    for k in range(keys.shape[0]):
        b = k % replicas
        for i in range(keys.shape[1]):
            slot = probe(table[b], keys[k, i], shift)
            if slot < 0:
                raise MemoryError("hash table row is full")
            if table[b, slot] == EMPTY:
                table[b, slot] = keys[k, i]
                used[b] += 1


@njit(cache=True, parallel=True)
def rehash(old: np.ndarray, old_values: np.ndarray, shift: int, table: np.ndarray, values: np.ndarray) -> None:
    """Moves every entry of old into a wider table whose shift is given; what table and values hold is overwritten.

    Homes are the upper bits of a hash, so that both are walked from left to right. Shapes: old, old_values [B, w], table,
    values [B, W].
    """
    for b in prange(old.shape[0]):
        rehash_one(old[b], old_values[b], shift, table[b], values[b])


@njit(cache=True)
def rehash_one(old: np.ndarray, old_values: np.ndarray, shift: int, table: np.ndarray, values: np.ndarray) -> None:
    for k in range(len(table)):
        table[k] = EMPTY
        values[k] = 0.0
    for k in range(len(old)):
        if old[k] != EMPTY:
            slot = probe(table, old[k], shift)
            table[slot] = old[k]
            values[slot] = old_values[k]
