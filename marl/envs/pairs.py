"""Compiled steps read compressed rows of numbers two at a time: half the memory, half the turns of a loop."""

import numpy as np

LOW = 0xFFFFFFFF
"""x & LOW and x >> 32 are the numbers in a pair x."""


def in_pairs(start: np.ndarray, node: np.ndarray, nobody: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Packs rows: (start of every row and the end of the last, pairs, where every number stands if pairs are taken apart).

    start [n + 1], node [entries]: the rows. A row of odd length ends with `nobody`, below 2^31 as all numbers.
    """
    degree = np.diff(start)
    first = np.concatenate(([0], ((degree + 1) // 2).cumsum()))
    place = np.repeat(2 * first[:-1] - start[:-1], degree) + np.arange(len(node))
    single = np.full(2 * first[-1], nobody, dtype=np.int64)
    single[place] = node
    return first, single[::2] | single[1::2] << 32, place
