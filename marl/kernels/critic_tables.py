"""These are the critic forms of a truncated table, Q_i(z_{N_i^kappa}) one free number each: dense, or hashed.

Entries of different agents are different slots, so agents can be updated one after the other.
Indices are unsigned where they are read from an array: a signed one is checked for being negative at every use.
"""

from typing import Any, NamedTuple

import numpy as np

from marl.kernels import forms
from marl.kernels.forms import implements
from marl.kernels.hash_table import EMPTY, home
from marl.kernels.prefetch import prefetch


class DenseTable(NamedTuple):
    """A key is the place of its value: key = base_i + sum_j stride_ij z_j, of which the bits in `keep` count.

    Shapes: stride [n, m], base [n], dummy [n], the key that is never learned, or -1; values [B, V]. keep: all bits if keys
    are exact.
    """

    stride: np.ndarray
    base: np.ndarray
    dummy: np.ndarray
    keep: int
    values: np.ndarray


class HashTable(NamedTuple):
    """Keeps key and value side by side in cells, see `marl.kernels.hash_table`; keys as in `DenseTable`.

    Shapes: values [B, V], words [B, 2 W], the same memory as numbers of the table's precision and as cells; width [B], how
    many cells of a row are in use; used [B], how many of them hold an entry.
    """

    stride: np.ndarray
    base: np.ndarray
    dummy: np.ndarray
    keep: int
    values: np.ndarray
    words: np.ndarray
    width: np.ndarray
    used: np.ndarray


class DenseRow(NamedTuple):
    """This is `DenseTable` of one replica. Shapes: values [V]. spacing: 1, how many values lie between one and the next."""

    stride: np.ndarray
    base: np.ndarray
    dummy: np.ndarray
    keep: int
    values: np.ndarray
    spacing: int


class HashRow(NamedTuple):
    """This is `HashTable` of one replica. Shapes: values [V], words [2 width].

    spacing: how many values have room in a cell, of which its own is the one in the middle.
    """

    stride: np.ndarray
    base: np.ndarray
    dummy: np.ndarray
    keep: int
    values: np.ndarray
    spacing: int
    words: np.ndarray


@implements(forms.of_replica, DenseTable)
def _dense_of_replica(form: DenseTable, b: int) -> DenseRow:
    return DenseRow(form.stride, form.base, form.dummy, form.keep, form.values[b], 1)


@implements(forms.of_replica, HashTable)
def _hash_of_replica(form: HashTable, b: int) -> HashRow:
    spacing, words = 2 * form.values.shape[1] // form.words.shape[1], form.words[b][: 2 * form.width[b]]
    return HashRow(form.stride, form.base, form.dummy, form.keep, form.values[b], spacing, words)


def _mark(critic: Any, near: np.ndarray, size: np.ndarray, z: np.ndarray, first: int, agents: int, key: np.ndarray) -> None:
    for c in range(agents):
        i = first + c
        total = critic.base[i]
        for j in range(size[i]):
            total += critic.stride[i, j] * z[near[i, j]]
        key[c] = total & critic.keep


def _is_learned(critic: Any, i: int, key: int) -> bool:
    return key != critic.dummy[i]


def _fetch_value(critic: Any, slot: int) -> None:
    prefetch(critic.values, slot)  # type: ignore[call-arg]


def _learn(critic: Any, i: int, slot: int, before: float, change: float) -> None:
    critic.values[slot] = before + change


def _value(critic: Any, i: int, slot: int) -> Any:
    return critic.values[slot]  # that of a dummy is 0


for _row in (DenseRow, HashRow):
    implements(forms.mark, _row)(_mark)
    implements(forms.is_learned, _row)(_is_learned)
    implements(forms.fetch_value, _row)(_fetch_value)
    implements(forms.value, _row)(_value)
    implements(forms.learn, _row)(_learn)


@implements(forms.fetch, DenseRow)
def _dense_fetch(critic: DenseRow, agents: int, key: np.ndarray, slot: np.ndarray) -> None:
    for c in range(agents):
        slot[c] = key[c]
        prefetch(critic.values, key[c])  # type: ignore[call-arg]


@implements(forms.fetch, HashRow)
def _hash_fetch(critic: HashRow, agents: int, key: np.ndarray, slot: np.ndarray) -> None:
    last = len(critic.words) // 2 - 1
    for c in range(agents):
        slot[c] = np.uint64(home(key[c], last)) << np.uint64(1)
        prefetch(critic.words, slot[c])  # type: ignore[call-arg]


@implements(forms.settle, DenseRow)
def _dense_settle(critic: DenseRow, agents: int, key: np.ndarray, slot: np.ndarray) -> int:
    return 0


@implements(forms.settle, HashRow)
def _hash_settle(critic: HashRow, agents: int, key: np.ndarray, slot: np.ndarray) -> int:
    """In a table without a gap, which callers never let it come to, it makes none and counts as many as it has cells."""
    made, words = 0, critic.words
    last, spacing = np.uint64(len(words) - 1), np.uint64(critic.spacing)
    for c in range(agents):
        at, tries = slot[c], 0
        found = words[at]
        while found != key[c] and found != EMPTY and tries < len(words):
            at = (at + np.uint64(2)) & last
            found = words[at]
            tries += 1
        if found == EMPTY:
            words[at] = key[c]
            made += 1
        elif found != key[c]:
            made += len(words)
        slot[c] = (at + np.uint64(1)) * spacing >> np.uint64(1)
    return made


@implements(forms.count_entries, DenseTable)
def _dense_count(form: DenseTable, b: int, made: int) -> bool:
    return True


@implements(forms.count_entries, HashTable)
def _hash_count(form: HashTable, b: int, made: int) -> bool:
    form.used[b] += made
    return form.used[b] <= form.width[b]
