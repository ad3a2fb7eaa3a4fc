"""The compiled hash table against Python dicts, clusters that wrap around the end of a row, and full rows."""

import faulthandler
import os
from collections.abc import Iterator

import numba
import numpy as np
import pytest

from marl.kernels import critic_tables, forms, hash_table

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


def empty(replicas: int, width: int, stride: int | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(cells, used, width) of rows with `width` slots in use, a power of two; what is behind them is not to be read."""
    cells = np.full((replicas, stride or width, 2), 99, dtype=np.int64)
    for row in cells:
        hash_table.clear(row[:width])
    return cells, np.zeros(replicas, dtype=np.int64), np.full(replicas, width)


def values_of(cells: np.ndarray) -> np.ndarray:
    """The values of all rows, one after the other, to be changed in place."""
    return cells.reshape(-1).view(np.float64)[1::2]


def found(table: np.ndarray, keys: np.ndarray, width: np.ndarray) -> np.ndarray:
    slots = np.empty_like(keys)
    hash_table.find(table, width, keys, MISSING, slots)
    return slots


def home(key: int, width: int) -> int:
    """Multiplicative hashing in plain integers: of both halves of the key, the upper half of the product."""
    return (key ^ key >> 32) * 0x23A74C222BDB963F % 2**64 // 2**32 % width


def keys_at(slot: int, width: int, count: int, above: int = 0) -> list[int]:
    """The first `count` keys from `above` whose home is `slot`."""
    keys: list[int] = []
    while len(keys) < count:
        keys += [above] if home(above, width) == slot else []
        above += 1
    return keys


@pytest.mark.parametrize("bits", [6, 40, 63])
@pytest.mark.parametrize("first", [64, 1024])
def test_equals_a_dict_per_row_while_it_grows(first: int, bits: int) -> None:
    """Row b meets b more keys per step than the one before, so that rows grow at times of their own."""
    draw = np.random.default_rng(bits)
    rows, agents, steps, stride = 3, 5, 300, 2**13
    table, used, width = empty(rows, first, stride)
    values = values_of(table)
    written: list[dict[int, float]] = [{} for _ in range(rows)]
    seen = set()
    for step in range(steps):
        keys = draw.integers(0, 2**bits - 1, (rows, agents), endpoint=True)
        for b in range(rows):
            keys[b, b + 2 :] = keys[b, 0]
        hash_table.insert(table, width, keys, used)
        slots = found(table, keys, width)
        values[slots] = step + np.arange(rows * agents).reshape(rows, agents)
        for b, i in np.ndindex(rows, agents):
            assert table[b, slots[b, i] - b * stride, 0] == keys[b, i]
            written[b][int(keys[b, i])] = values[slots[b, i]]
        held = [(table[b, : width[b], 0] >= 0).sum() for b in range(rows)]
        assert used.tolist() == [len(row) for row in written] == held
        wider = np.where(used + agents > width // 2, 2 * width, width)
        hash_table.widen(table, width, wider)
        width = wider
        seen.add(tuple(width))
        assert all((table[b, width[b] :] == 99).all() for b in range(rows))
    assert bits == 6 or any(len(set(widths)) > 1 for widths in seen)
    for b in range(rows):
        for key, value in written[b].items():
            slot = found(table, np.full((rows, 1), key), width)[b, 0]
            assert (table[b, slot - b * stride, 0], values[slot]) == (key, value)
    absent = [
        key for key in draw.integers(0, 2**bits - 1, 200, endpoint=True).tolist() if all(key not in row for row in written)
    ]
    assert (found(table, np.tile(np.array(absent, dtype=np.int64), (rows, 1)), width) == MISSING).all()
    assert bits == 6 or len(absent) == 200


def test_homes_are_those_of_multiplicative_hashing() -> None:
    for slots in (8, 4096):
        for key in [0, 1, 2, 3, 12345, 2**40 + 1, 2**63 - 1]:
            table, used, width = empty(1, slots)
            hash_table.insert(table, width, np.array([[key]]), used)
            assert table[0, home(key, slots), 0] == key


def test_clusters_wrap_around_the_end_of_a_row() -> None:
    slots = 16
    last, first = keys_at(slots - 1, slots, 4), keys_at(0, slots, 2, above=1)
    table, used, width = empty(2, slots, 2 * slots)
    for key in [*last, *first]:
        hash_table.insert(table, width, np.array([[key], [first[0]]]), used)
    assert table[0, :slots, 0].tolist() == [*last[1:], *first, *[-1] * 10, last[0]]
    assert used.tolist() == [6, 1]
    assert found(table, np.array([[*last, *first], [*last, *first]]), width).tolist() == [
        [15, 0, 1, 2, 3, 4],
        [*[MISSING] * 4, 32, MISSING],
    ]
    beyond = keys_at(slots - 1, slots, 1, above=last[-1] + 1)[0]
    assert found(table, np.array([[beyond], [beyond]]), width).tolist() == [[MISSING], [MISSING]]
    values_of(table)[:] = np.arange(4.0 * slots)
    kept = table[1].copy()
    wider = np.array([2 * slots, slots])
    hash_table.widen(table, width, wider)
    where = found(table, np.array([[*last, *first]] * 2), wider)
    assert values_of(table)[where[0]].tolist() == [15.0, 0.0, 1.0, 2.0, 3.0, 4.0]
    assert (table[1] == kept).all()
    assert used.tolist() == [(table[b, : wider[b], 0] >= 0).sum() for b in range(2)]


@pytest.mark.parametrize("width", [2, 4, 8, 32, 128])
def test_a_crowded_row_is_widened_in_place(width: int) -> None:
    """Up to one gap in a row, long clusters that wrap around: every key is found again, with its value."""
    draw = np.random.default_rng(width)
    for trial in range(300):
        table, used, widths = empty(1, width, 8 * width)
        count = width - 1 if trial % 2 else int(draw.integers(0, width))
        keys = draw.choice(2 ** (3 + trial % 40) + width, count, replace=False)
        hash_table.insert(table, widths, keys[:, None], used)
        assert used[0] == count
        table[0, found(table, keys[None], widths)[0], 1] = 10 * keys + 1
        wider = widths * 2 ** (1 + trial % 3)
        hash_table.widen(table, widths, wider)
        row = table[0, : wider[0]]
        assert (row[:, 0] >= 0).sum() == count
        assert (row[found(table, keys[None], wider)[0]] == np.stack([keys, 10 * keys + 1], axis=1)).all()
        assert (table[0, wider[0] :] == 99).all()


@pytest.mark.parametrize("width", [1, 2, 8, 64])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_packed_row_is_unpacked_as_it_was(width: int, in_place: bool) -> None:
    """From an empty row to a full one, with clusters that wrap around."""
    draw = np.random.default_rng(width)
    for count in range(width + 1):
        table, used, widths = empty(1, width)
        hash_table.insert(table, widths, draw.choice(2**40, (count, 1), replace=False), used)
        row = table[0, :width]
        row[row[:, 0] >= 0, 1] = draw.integers(1, 2**60, count)
        before, filled = row.copy(), np.empty(width, dtype=np.bool_)
        packed = row if in_place else np.empty((count, 2), dtype=np.int64)
        hash_table.pack(row, filled, packed)
        assert (filled == (before[:, 0] >= 0)).all()
        assert (packed[:count] == before[filled]).all()
        hash_table.unpack(packed[:count], filled, row)
        assert (row == before).all()


def test_a_repeated_key_takes_one_slot() -> None:
    table, used, width = empty(2, 8)
    hash_table.insert(table, width, np.array([[5, 5, 5], [5, 6, 5]]), used)
    assert used.tolist() == [1, 2]


def test_a_full_row_raises_instead_of_spinning() -> None:
    table, used, width = empty(2, 8)
    keys = np.array([range(8), [0] * 8])
    hash_table.insert(table, width, keys, used)
    assert used.tolist() == [8, 1]
    hash_table.insert(table, width, keys, used)  # all there already
    assert sorted(table[0, :, 0]) == list(range(8))
    kept = table.copy()
    with pytest.raises(MemoryError, match="hash table row is full"):
        hash_table.insert(table, width, np.array([[99], [99]]), used)
    assert (table[0] == kept[0]).all()
    assert found(table, np.array([[99, *range(8)]] * 2), width)[0].tolist()[0] == MISSING
    assert sorted(found(table, keys, width)[0].tolist()) == list(range(8))


def test_the_fused_search_makes_no_cell_of_another_key() -> None:
    """In a full row, which its callers never let it meet, it says that there are more entries than a row can have."""
    cells, used, width = empty(1, 8)
    keys = np.arange(10, 17)
    hash_table.insert(cells, width, keys[None], used)
    row = cells.reshape(-1)
    made, slot = searched(row, np.array([*keys[:3], 99]))
    assert made == 1
    assert row[slot - 1].tolist() == [*keys[:3], 99]
    before = row.copy()
    made, _ = searched(row, np.array([12, 77]))
    assert made > 8
    assert np.array_equal(row, before)


def searched(row: np.ndarray, keys: np.ndarray) -> tuple[int, np.ndarray]:
    """(entries made, where the values stand) of a search by the fused loop for keys in one row of cells, laid out flat."""
    slot = np.empty(len(keys), np.uint64)
    no_keys = np.empty((0, 0), np.int64), np.empty(0, np.int64), np.empty(0, np.int64), -1
    width, used = np.array([len(row) // 2]), np.zeros(1, np.int64)
    table = critic_tables.HashTable(*no_keys, row.view(np.float64)[None], row[None], width, used)
    made = _search_all(table, keys, slot)
    return made, slot.astype(np.int64)


@numba.njit
def _search_all(table, keys, slot):
    row = forms.of_replica(table, 0)
    forms.fetch(row, len(keys), keys, slot)
    return forms.settle(row, len(keys), keys, slot)
