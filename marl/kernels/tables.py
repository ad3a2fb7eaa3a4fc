"""The critic forms of a truncated table, Q_i(z_{N_i^kappa}) one free number each: dense, or hashed.

Entries of different agents are different slots, so agents can be updated one after the other.
Indices are unsigned where they are read from an array: a signed one is checked for being negative at every use.
"""

from typing import Any, NamedTuple

import numpy as np

from marl.kernels import forms
from marl.kernels.forms import implements
from marl.kernels.hash_table import EMPTY, home
from marl.kernels.prefetch import prefetch


class Keys(NamedTuple):
    """How a joint pair becomes a key: base_i + sum_j stride_ij z_j, of which the bits in `keep` count.

    Shapes: stride [n, m], base [n], dummy [n], the key that is never learned, or -1. keep: all bits if keys are exact.
    """

    stride: np.ndarray
    base: np.ndarray
    dummy: np.ndarray
    keep: int


class Maxima(NamedTuple):
    """The largest |value| of every block of cells (or else of values) in use. Shapes: largest [B, blocks]; block: its size."""

    largest: np.ndarray
    block: int


class DenseTable(NamedTuple):
    """A key is the place of its value. Shapes: values [B, V]; maxima: `Maxima`, or None where nobody asks for them."""

    keys: Keys
    values: np.ndarray
    maxima: Any


class HashTable(NamedTuple):
    """Cells of key and value side by side, see `marl.kernels.hash_table`.

    Shapes: words [B, 2 W], the cells; values [B, V], the same memory as numbers of the table's precision; width [B], how many
    cells of a row are in use; used [B], how many of them hold an entry. maxima: as for `DenseTable`.
    """

    keys: Keys
    values: np.ndarray
    words: np.ndarray
    width: np.ndarray
    used: np.ndarray
    maxima: Any


class DenseRow(NamedTuple):
    """`DenseTable` of one replica. Shapes: values [V]."""

    keys: Keys
    values: np.ndarray
    maxima: Any


class HashRow(NamedTuple):
    """`HashTable` of one replica. Shapes: words [2 width], values [V].

    spacing: how many values have room in a cell, of which its own is the one in the middle.
    """

    keys: Keys
    values: np.ndarray
    words: np.ndarray
    spacing: int
    maxima: Any


class MaximaRow(NamedTuple):
    """`Maxima` of one replica. Shapes: largest [blocks]."""

    largest: np.ndarray
    block: int


@implements(forms.of_replica, DenseTable)
def _dense_of_replica(form: DenseTable, b: int) -> DenseRow:
    return DenseRow(form.keys, form.values[b], forms.of_replica(form.maxima, b))


@implements(forms.of_replica, HashTable)
def _hash_of_replica(form: HashTable, b: int) -> HashRow:
    spacing = 2 * form.values.shape[1] // form.words.shape[1]
    return HashRow(
        form.keys, form.values[b], form.words[b][: 2 * form.width[b]], spacing, forms.of_replica(form.maxima, b)
    )


@implements(forms.of_replica, Maxima)
def _maxima_of_replica(form: Maxima, b: int) -> MaximaRow:
    return MaximaRow(form.largest[b], form.block)


@implements(forms.of_replica, None)
def _nothing_of_replica(form: None, b: int) -> None:
    return None


def _mark(critic: Any, near: np.ndarray, size: np.ndarray, z: np.ndarray, key: np.ndarray) -> None:
    keys = critic.keys
    for i in range(len(z)):
        total = keys.base[i]
        for j in range(size[i]):
            total += keys.stride[i, j] * z[near[i, j]]
        key[i] = total & keys.keep


def _is_learned(critic: Any, i: int, key: int) -> bool:
    return key != critic.keys.dummy[i]


def _room_for_values(critic: Any, agents: int) -> np.ndarray:
    return np.empty(agents, critic.values.dtype)


def _value(critic: Any, i: int, slot: np.ndarray) -> Any:
    return critic.values[slot[i]]  # that of a dummy is 0


def _largest_of(critic: Any) -> Any:
    return forms.largest(critic.maxima)


for _row in (DenseRow, HashRow):
    implements(forms.mark, _row)(_mark)
    implements(forms.is_learned, _row)(_is_learned)
    implements(forms.room_for_values, _row)(_room_for_values)
    implements(forms.value, _row)(_value)
    implements(forms.largest, _row)(_largest_of)


@implements(forms.fetch, DenseRow)
def _dense_fetch(critic: DenseRow, key: np.ndarray, slot: np.ndarray) -> None:
    for i in range(len(key)):
        slot[i] = key[i]
        prefetch(critic.values, key[i])  # type: ignore[call-arg]


@implements(forms.fetch, HashRow)
def _hash_fetch(critic: HashRow, key: np.ndarray, slot: np.ndarray) -> None:
    last = len(critic.words) // 2 - 1
    for i in range(len(key)):
        slot[i] = np.uint64(home(key[i], last)) << np.uint64(1)
        prefetch(critic.words, slot[i])  # type: ignore[call-arg]


@implements(forms.settle, DenseRow)
def _dense_settle(critic: DenseRow, key: np.ndarray, slot: np.ndarray) -> int:
    return 0


@implements(forms.settle, HashRow)
def _hash_settle(critic: HashRow, key: np.ndarray, slot: np.ndarray) -> int:
    """In a table without a gap, which callers never let it come to, it makes none and counts as many as it has cells."""
    made, words = 0, critic.words
    last, spacing = np.uint64(len(words) - 1), np.uint64(critic.spacing)
    for i in range(len(key)):
        at, tries = slot[i], 0
        found = words[at]
        while found != key[i] and found != EMPTY and tries < len(words):
            at = (at + np.uint64(2)) & last
            found = words[at]
            tries += 1
        if found == EMPTY:
            words[at] = key[i]
            made += 1
        elif found != key[i]:
            made += len(words)
        slot[i] = (at + np.uint64(1)) * spacing >> np.uint64(1)
    return made


@implements(forms.learn, DenseRow)
def _dense_learn(critic: DenseRow, i: int, slot: np.ndarray, before: float, change: float) -> None:
    critic.values[slot[i]] = before + change
    _moved(critic.maxima, critic.values, 1, slot[i], before)


@implements(forms.learn, HashRow)
def _hash_learn(critic: HashRow, i: int, slot: np.ndarray, before: float, change: float) -> None:
    critic.values[slot[i]] = before + change
    _moved(critic.maxima, critic.values, critic.spacing, slot[i], before)


def _moved(maxima: Any, values: np.ndarray, spacing: int, slot: int, before: float) -> None:
    """Keeps maxima exact after values[slot] changed from `before`: a block is scanned anew only if its largest shrank."""


@implements(_moved, None)
def _no_maxima_moved(maxima: None, values: np.ndarray, spacing: int, slot: int, before: float) -> None:
    pass


@implements(_moved, MaximaRow, inline=False)
def _maxima_moved(maxima: MaximaRow, values: np.ndarray, spacing: int, slot: int, before: float) -> None:
    block = maxima.block * spacing
    k = slot // np.uint64(block)
    now = abs(values[slot])
    if now >= maxima.largest[k]:
        maxima.largest[k] = now
    elif abs(before) == maxima.largest[k]:
        first = np.int64(k) * block
        maxima.largest[k] = np.abs(values[first + spacing // 2 : first + block : spacing]).max()


@implements(forms.largest, None)
def _no_largest(form: None) -> float:
    return 0.0


@implements(forms.largest, MaximaRow)
def _largest(form: MaximaRow) -> Any:
    return form.largest.max()


@implements(forms.count_entries, DenseTable)
def _dense_count(form: DenseTable, b: int, made: int) -> bool:
    return True


@implements(forms.count_entries, HashTable)
def _hash_count(form: HashTable, b: int, made: int) -> bool:
    form.used[b] += made
    return form.used[b] <= form.width[b]
