"""The compiled hash table against Python dicts, clusters that wrap around the end of a row, and full rows."""

import faulthandler
import os
from collections.abc import Iterator

import numpy as np
import pytest

from marl.kernels import hash_table

MISSING = -7


@pytest.fixture(autouse=True)
def watchdog(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """A probe loop that never ends would hang the suite: end it with a traceback after a minute instead."""
    with capfd.disabled():
        terminal = os.dup(2)
    faulthandler.dump_traceback_later(60, exit=True, file=terminal)
    yield
    faulthandler.cancel_dump_traceback_later()
    os.close(terminal)


def empty(replicas: int, width: int) -> tuple[np.ndarray, np.ndarray, int]:
    """(cells, used, shift) of rows with `width` slots, a power of two."""
    cells = np.zeros((replicas, width, 2), dtype=np.int64)
    cells[..., 0] = hash_table.EMPTY
    return cells, np.zeros(replicas, dtype=np.int64), 64 - (width.bit_length() - 1)


def values_of(cells: np.ndarray) -> np.ndarray:
    """The values of all rows, one after the other, to be changed in place."""
    return cells.reshape(-1).view(np.float64)[1::2]


def found(table: np.ndarray, keys: np.ndarray, shift: int) -> np.ndarray:
    slots = np.empty_like(keys)
    hash_table.find(table, keys, shift, MISSING, slots)
    return slots


def home(key: int, width: int) -> int:
    """Fibonacci hashing in plain integers."""
    return (key * 0x9E3779B97F4A7C15 % 2**64) * width // 2**64


def keys_at(slot: int, width: int, count: int, above: int = 0) -> list[int]:
    """The first `count` keys from `above` whose home is `slot`."""
    keys: list[int] = []
    while len(keys) < count:
        keys += [above] if home(above, width) == slot else []
        above += 1
    return keys


@pytest.mark.parametrize("bits", [6, 40, 63])
@pytest.mark.parametrize("width", [64, 1024])
def test_equals_a_dict_per_row_while_it_grows(width: int, bits: int) -> None:
    draw = np.random.default_rng(bits)
    rows, agents, steps = 3, 5, 300
    table, used, shift = empty(rows, width)
    values = values_of(table)
    written: list[dict[int, float]] = [{} for _ in range(rows)]
    for step in range(steps):
        keys = draw.integers(0, 2**bits - 1, (rows, agents), endpoint=True)
        hash_table.insert(table, keys, shift, used)
        slots = found(table, keys, shift)
        values[slots] = step + np.arange(rows * agents).reshape(rows, agents)
        for b, i in np.ndindex(rows, agents):
            assert table[b, slots[b, i] - b * width, 0] == keys[b, i]
            written[b][int(keys[b, i])] = values[slots[b, i]]
        assert used.tolist() == [len(row) for row in written] == (table[..., 0] >= 0).sum(axis=1).tolist()
        if used.max() + agents > width // 2:
            wider, _, wider_shift = empty(rows, 2 * width)
            hash_table.rehash(table, wider_shift, wider)
            table, values, shift, width = wider, values_of(wider), wider_shift, 2 * width
    for b in range(rows):
        for key, value in written[b].items():
            slot = found(table, np.full((rows, 1), key), shift)[b, 0]
            assert (table[b, slot - b * width, 0], values[slot]) == (key, value)
    absent = [
        key for key in draw.integers(0, 2**bits - 1, 200, endpoint=True).tolist() if all(key not in row for row in written)
    ]
    assert (found(table, np.tile(np.array(absent, dtype=np.int64), (rows, 1)), shift) == MISSING).all()
    assert bits == 6 or len(absent) == 200


def test_homes_are_those_of_fibonacci_hashing() -> None:
    for width in (8, 4096):
        for key in [0, 1, 2, 3, 12345, 2**40 + 1, 2**63 - 1]:
            table, used, shift = empty(1, width)
            hash_table.insert(table, np.array([[key]]), shift, used)
            assert table[0, home(key, width), 0] == key


def test_clusters_wrap_around_the_end_of_a_row() -> None:
    width = 16
    last, first = keys_at(width - 1, width, 4), keys_at(0, width, 2, above=1)
    table, used, shift = empty(2, width)
    for key in [*last, *first]:
        hash_table.insert(table, np.array([[key], [first[0]]]), shift, used)
    assert table[0, :, 0].tolist() == [*last[1:], *first, *[-1] * 10, last[0]]
    assert used.tolist() == [6, 1]
    assert found(table, np.array([[*last, *first], [*last, *first]]), shift).tolist() == [
        [15, 0, 1, 2, 3, 4],
        [*[MISSING] * 4, 16, MISSING],
    ]
    beyond = keys_at(width - 1, width, 1, above=last[-1] + 1)[0]
    assert found(table, np.array([[beyond], [beyond]]), shift).tolist() == [[MISSING], [MISSING]]
    wider, _, wider_shift = empty(2, 2 * width)
    values_of(table)[:] = np.arange(2.0 * width)
    hash_table.rehash(table, wider_shift, wider)
    slots = found(wider, np.array([[*last, *first]] * 2), wider_shift)
    assert values_of(wider)[slots[0]].tolist() == [15.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    assert values_of(wider)[slots[1, 4]] == 16.0
    assert used.tolist() == (wider[..., 0] >= 0).sum(axis=1).tolist()


def test_a_repeated_key_takes_one_slot() -> None:
    table, used, shift = empty(2, 8)
    hash_table.insert(table, np.array([[5, 5, 5], [5, 6, 5]]), shift, used)
    assert used.tolist() == [1, 2]


def test_a_full_row_raises_instead_of_spinning() -> None:
    table, used, shift = empty(2, 8)
    keys = np.array([range(8), [0] * 8])
    hash_table.insert(table, keys, shift, used)
    assert used.tolist() == [8, 1]
    hash_table.insert(table, keys, shift, used)  # all there already
    assert sorted(table[0, :, 0]) == list(range(8))
    kept = table.copy()
    with pytest.raises(MemoryError, match="hash table row is full"):
        hash_table.insert(table, np.array([[99], [99]]), shift, used)
    assert (table[0] == kept[0]).all()
    assert found(table, np.array([[99, *range(8)]] * 2), shift)[0].tolist()[0] == MISSING
    assert sorted(found(table, keys, shift)[0].tolist()) == list(range(8))
