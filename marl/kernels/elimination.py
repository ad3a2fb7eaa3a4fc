"""The inner loops of variable elimination take one factor at a time into or out of an array over joint values.

Arrays are flat, last digit fastest. A factor p [C, K] maps the joint value of the source variables it sees (numbered
0..C-1) to weights over the K values of its target. Its source variables are among the trailing digits of the source
value v, so `code` need only list the numbers for v = 0..len(code)-1 and repeats with that period; the fresh sources are
the very last digits, so len(code) is a multiple of `fresh` and divides outer * fresh.
"""

import numpy as np

from marl.kernels.compiled import cached_njit

_FAST = {"contract", "nsz"}


@cached_njit(fastmath=_FAST, inline="always")
def _contract_two(
    h: np.ndarray, out: np.ndarray, code: np.ndarray, p: np.ndarray, outer: int, fresh: int, left: int, right: int
) -> None:
    """Does what `contract` does for a target with two values; inlined, so that literal sizes become unrolled loops."""
    near = len(code) // fresh
    for block in range(outer // near):
        for g in range(near):
            u = block * near + g
            for f in range(fresh):
                c = code[g * fresh + f]
                x, y = p[c, 0], p[c, 1]
                for i in range(left):
                    source = (u * left + i) * 2 * right
                    target = ((u * fresh + f) * left + i) * right
                    for r in range(right):
                        out[target + r] = x * h[source + r] + y * h[source + right + r]


@cached_njit(fastmath=_FAST)
def contract(
    h: np.ndarray, out: np.ndarray, code: np.ndarray, p: np.ndarray, outer: int, fresh: int, left: int, right: int
) -> None:
    """out[u, f, l, r] = sum_k p[code(u, f), k] h[u, l, k, r], f the digits of the fresh source variables.

    Sizes: h outer * left * K * right, out outer * fresh * left * right. Few columns need loops of a known length: they
    are five times faster.
    """
    values = p.shape[1]
    if values == 2 and left == 1:
        if right == 1:
            _contract_two(h, out, code, p, outer, fresh, 1, 1)
        elif right == 2:
            _contract_two(h, out, code, p, outer, fresh, 1, 2)
        elif right == 4:
            _contract_two(h, out, code, p, outer, fresh, 1, 4)
        else:
            _contract_two(h, out, code, p, outer, fresh, 1, right)
    elif values == 2:
        _contract_two(h, out, code, p, outer, fresh, left, right)
    else:
        near = len(code) // fresh
        for block in range(outer // near):
            for g in range(near):
                u = block * near + g
                for f in range(fresh):
                    c = code[g * fresh + f]
                    for i in range(left):
                        source = (u * left + i) * values * right
                        target = ((u * fresh + f) * left + i) * right
                        for r in range(right):
                            out[target + r] = p[c, 0] * h[source + r]
                        for k in range(1, values):
                            for r in range(right):
                                out[target + r] += p[c, k] * h[source + k * right + r]


@cached_njit(fastmath=_FAST)
def spread(
    w: np.ndarray, out: np.ndarray, code: np.ndarray, p: np.ndarray, outer: int, fresh: int, left: int, right: int
) -> None:
    """Applies the transpose of `contract`: out[u, l, k, r] = sum_f p[code(u, f), k] w[u, f, l, r]."""
    values, period, number = p.shape[1], len(code), 0
    for u in range(outer):
        block = left * values * right
        for r in range(block):
            out[u * block + r] = 0.0
        for f in range(fresh):
            c = code[number]
            number += 1
            if number == period:
                number = 0
            for i in range(left):
                source = ((u * fresh + f) * left + i) * right
                for k in range(values):
                    target = ((u * left + i) * values + k) * right
                    for r in range(right):
                        out[target + r] += p[c, k] * w[source + r]


@cached_njit(fastmath=_FAST)
def average(
    h: np.ndarray,
    out: np.ndarray,
    weight: np.ndarray,
    start: np.ndarray,
    before: np.ndarray,
    behind: np.ndarray,
    outer: int,
    right: int,
) -> None:
    """out[u, s, i, r] = sum over z in start[s] .. start[s+1]-1 of weight[before[u] + behind[i], z] h[u, z, i, r].

    The row of the weights is a sum of what the digits u before and i behind say; `before` repeats with its length.
    """
    pairs, states, inside, period = weight.shape[1], len(start) - 1, len(behind), len(before)
    number = 0
    for u in range(outer):
        base = before[number]
        number += 1
        if number == period:
            number = 0
        for s in range(states):
            for i in range(inside):
                row = base + behind[i]
                target = ((u * states + s) * inside + i) * right
                for r in range(right):
                    out[target + r] = 0.0
                for z in range(start[s], start[s + 1]):
                    source = ((u * pairs + z) * inside + i) * right
                    for r in range(right):
                        out[target + r] += weight[row, z] * h[source + r]


@cached_njit(fastmath=_FAST)
def unfold(
    w: np.ndarray,
    out: np.ndarray,
    weight: np.ndarray,
    start: np.ndarray,
    before: np.ndarray,
    behind: np.ndarray,
    outer: int,
    right: int,
) -> None:
    """Applies the transpose of `average`: out[u, z, i, r] = weight[before[u] + behind[i], z] w[u, s(z), i, r]."""
    pairs, states, inside, period = weight.shape[1], len(start) - 1, len(behind), len(before)
    number = 0
    for u in range(outer):
        base = before[number]
        number += 1
        if number == period:
            number = 0
        for s in range(states):
            for i in range(inside):
                row = base + behind[i]
                source = ((u * states + s) * inside + i) * right
                for z in range(start[s], start[s + 1]):
                    target = ((u * pairs + z) * inside + i) * right
                    for r in range(right):
                        out[target + r] = weight[row, z] * w[source + r]


@cached_njit()
def reorder(h: np.ndarray, out: np.ndarray, place: np.ndarray, width: int) -> None:
    """out[x, c] = h[place[x], c] for c < width."""
    for x in range(len(place)):
        for c in range(width):
            out[x * width + c] = h[place[x] * width + c]


@cached_njit(fastmath=_FAST)
def improve(image: np.ndarray, reward: np.ndarray, h: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """image <- reward + image - h, with its least and largest entry per column. Shapes: [X, C], low, high [C]."""
    for c in range(h.shape[1]):
        low[c], high[c] = np.inf, -np.inf
    for x in range(h.shape[0]):
        for c in range(h.shape[1]):
            d = image[x, c] + reward[x, c] - h[x, c]
            image[x, c] = d
            low[c] = min(low[c], d)
            high[c] = max(high[c], d)
