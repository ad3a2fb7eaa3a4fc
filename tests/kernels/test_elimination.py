"""The kernels of variable elimination against plain Python loops written from their docstrings."""

from itertools import product
from math import prod

import numpy as np
import pytest

from marl.kernels.elimination import average, contract, improve, reorder, spread, unfold

CLOSE = {"rtol": 1e-13, "atol": 1e-13}
GARBAGE = 7e77
"""What outputs hold before: they must be overwritten."""


def garbage(*shape: int) -> np.ndarray:
    return np.full(prod(shape), GARBAGE)


def sum_case(draw: np.random.Generator, outer: int, fresh: int, rows: int, values: int) -> tuple[np.ndarray, np.ndarray]:
    """(code, p): a period of whole (u, f), all fresh f and a divisor of u, as trailing digits are."""
    period = fresh * int(draw.choice([d for d in range(1, outer + 1) if outer % d == 0]))
    return draw.integers(rows, size=period), draw.uniform(-1, 1, (rows, values))


SHAPES = [
    # outer, fresh, left, values, right
    (1, 1, 1, 1, 1),
    (1, 1, 1, 2, 1),
    (3, 2, 1, 2, 5),
    (2, 4, 3, 2, 1),
    (4, 1, 2, 3, 4),
    (2, 6, 2, 1, 3),
    (6, 3, 2, 5, 2),
    (1, 8, 4, 4, 1),
    *[(outer, fresh, 1, values, right) for outer, fresh in ((6, 1), (4, 3)) for values in (2, 3) for right in range(1, 9)],
]


@pytest.mark.parametrize("shape", SHAPES)
def test_contract(shape: tuple[int, ...]) -> None:
    outer, fresh, left, values, right = shape
    draw = np.random.default_rng(SHAPES.index(shape))
    for rows in (1, 2, 5):
        code, p = sum_case(draw, outer, fresh, rows, values)
        h = draw.uniform(-1, 1, (outer, left, values, right))
        out = garbage(outer, fresh, left, right)
        contract(h.reshape(-1), out, code, p, outer, fresh, left, right)
        expected = np.zeros((outer, fresh, left, right))
        for u, f, x, r in product(range(outer), range(fresh), range(left), range(right)):
            row = code[(u * fresh + f) % len(code)]
            expected[u, f, x, r] = sum(p[row, k] * h[u, x, k, r] for k in range(values))
        np.testing.assert_allclose(out.reshape(expected.shape), expected, **CLOSE)


@pytest.mark.parametrize("shape", SHAPES)
def test_spread(shape: tuple[int, ...]) -> None:
    outer, fresh, left, values, right = shape
    draw = np.random.default_rng(SHAPES.index(shape))
    for rows in (1, 2, 5):
        code, p = sum_case(draw, outer, fresh, rows, values)
        w = draw.uniform(-1, 1, (outer, fresh, left, right))
        out = garbage(outer, left, values, right)
        spread(w.reshape(-1), out, code, p, outer, fresh, left, right)
        expected = np.zeros((outer, left, values, right))
        for u, x, k, r in product(range(outer), range(left), range(values), range(right)):
            expected[u, x, k, r] = sum(p[code[(u * fresh + f) % len(code)], k] * w[u, f, x, r] for f in range(fresh))
        np.testing.assert_allclose(out.reshape(expected.shape), expected, **CLOSE)


STARTS = [[0, 1], [0, 3], [0, 1, 2, 3], [0, 2, 3, 7]]


every_average = pytest.mark.parametrize(
    ("outer", "inside", "right"), [(1, 1, 1), (3, 1, 1), (1, 1, 4), (4, 3, 2), (6, 2, 1)]
)


def weights(draw: np.random.Generator, pairs: int, outer: int, inside: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(weight, before, behind): rows that are sums of two numbers, the first of them with a period."""
    before, behind = draw.integers(3, size=max(1, outer // 2)), draw.integers(4, size=inside)
    return draw.random((6, pairs)), before, behind


@pytest.mark.parametrize("start", STARTS)
@every_average
def test_average(start: list[int], outer: int, inside: int, right: int) -> None:
    draw = np.random.default_rng([len(start), outer, right])
    pairs, states = start[-1], len(start) - 1
    weight, before, behind = weights(draw, pairs, outer, inside)
    h, out = draw.uniform(-1, 1, (outer, pairs, inside, right)), garbage(outer, states, inside, right)
    average(h.reshape(-1), out, weight, np.array(start), before, behind, outer, right)
    expected = np.zeros((outer, states, inside, right))
    for u, s, i, r in product(range(outer), range(states), range(inside), range(right)):
        row = before[u % len(before)] + behind[i]
        expected[u, s, i, r] = sum(weight[row, z] * h[u, z, i, r] for z in range(start[s], start[s + 1]))
    np.testing.assert_allclose(out.reshape(expected.shape), expected, **CLOSE)


@pytest.mark.parametrize("start", STARTS)
@every_average
def test_unfold(start: list[int], outer: int, inside: int, right: int) -> None:
    draw = np.random.default_rng([len(start), outer, right])
    pairs, states = start[-1], len(start) - 1
    weight, before, behind = weights(draw, pairs, outer, inside)
    w, out = draw.uniform(-1, 1, (outer, states, inside, right)), garbage(outer, pairs, inside, right)
    unfold(w.reshape(-1), out, weight, np.array(start), before, behind, outer, right)
    expected = np.zeros((outer, pairs, inside, right))
    for u, z, i, r in product(range(outer), range(pairs), range(inside), range(right)):
        state = next(s for s in range(states) if start[s] <= z < start[s + 1])
        expected[u, z, i, r] = weight[before[u % len(before)] + behind[i], z] * w[u, state, i, r]
    np.testing.assert_allclose(out.reshape(expected.shape), expected, **CLOSE)


@pytest.mark.parametrize("width", [1, 2, 5])
def test_reorder(width: int) -> None:
    draw = np.random.default_rng(width)
    h = draw.random((7, width))
    for place in (np.arange(7), draw.permutation(7), np.array([3, 3, 0])):
        out = garbage(len(place), width)
        reorder(h.reshape(-1), out, place, width)
        for x, c in product(range(len(place)), range(width)):
            assert out[x * width + c] == h[place[x], c]


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (6, 1), (1, 3), (9, 4)])
def test_improve(rows: int, columns: int) -> None:
    draw = np.random.default_rng([rows, columns])
    image, reward, h = draw.uniform(-1, 1, (3, rows, columns))
    low, high, before = garbage(columns), -garbage(columns), image.copy()
    improve(image, reward, h, low, high)
    for x, c in product(range(rows), range(columns)):
        assert image[x, c] == pytest.approx(reward[x, c] + before[x, c] - h[x, c], abs=1e-15)
    for c in range(columns):
        assert low[c] == min(image[x, c] for x in range(rows))
        assert high[c] == max(image[x, c] for x in range(rows))


def test_infinities_and_nan_pass_through_the_sums() -> None:
    """Fast arithmetic may reorder sums; it may not assume that numbers are finite."""
    code, one = np.zeros(1, dtype=np.int64), np.ones((1, 2))
    for h, expected in ((np.array([np.inf, 1.0]), np.inf), (np.array([np.nan, 1.0]), np.nan)):
        out = garbage(1)
        contract(h, out, code, one, 1, 1, 1, 1)
        np.testing.assert_equal(out[0], expected)
        average(h, out, one, np.array([0, 2]), code, code, 1, 1)
        np.testing.assert_equal(out[0], expected)


@pytest.mark.parametrize("shape", SHAPES)
def test_transposes(shape: tuple[int, ...]) -> None:
    """<w, contract h> = <spread w, h>."""
    outer, fresh, left, values, right = shape
    draw = np.random.default_rng(SHAPES.index(shape))
    code, p = sum_case(draw, outer, fresh, 3, values)
    h, w = draw.uniform(-1, 1, outer * left * values * right), draw.uniform(-1, 1, outer * fresh * left * right)
    forward, back = garbage(len(w)), garbage(len(h))
    contract(h, forward, code, p, outer, fresh, left, right)
    spread(w, back, code, p, outer, fresh, left, right)
    assert w @ forward == pytest.approx(back @ h, abs=1e-12)
