"""The compiled softmax and draw against NumPy."""

import numba
import numpy as np
import pytest
import torch

from marl import TabularSoftmax, WirelessAccess
from marl.kernels import softmax_arithmetic
from marl.kernels.arguments import UNROLLED, of_length


@numba.njit
def each_exp(x):
    y = np.empty_like(x)
    for k in range(len(x)):
        y[k] = softmax_arithmetic.exp(x[k])
    return y


@numba.njit
def each_draw(actions, policy, rows, last, u):
    drawn = np.empty(len(u), np.int64)
    for k in range(len(u)):
        drawn[k] = softmax_arithmetic.draw(actions, policy, rows[k], last[k], u[k])
    return drawn


def test_exp_has_a_relative_error_below_5e_16() -> None:
    x = -np.concatenate([np.linspace(0.0, 2.0, 100_001), np.geomspace(1e-300, 707.9, 100_001), [0.0]])
    wanted = np.exp(x)
    assert (np.abs(each_exp(x) - wanted) / wanted).max() < 5e-16


def test_exp_far_out() -> None:
    assert each_exp(np.array([-708.5, -1e4, -1e300, -np.inf])).tolist() == [0.0] * 4
    assert np.isnan(each_exp(np.array([np.nan]))).all()


@pytest.mark.parametrize("actions", [1, 2, 5, UNROLLED + 3])
def test_rows_of_a_policy(actions: int) -> None:
    """Softmax over the legal actions, 0 elsewhere; theta comes back; a draw is the inverse CDF."""
    draw = np.random.default_rng(actions)
    agents, states = 11, 3
    theta = draw.normal(size=(agents, states, actions)) * 5
    legal = draw.random((agents, states, actions)) < 0.7
    legal[..., draw.integers(actions)] = True
    policy = np.empty(2 * theta.size)
    softmax_arithmetic.refresh(of_length(actions), theta, legal, policy)
    shaped = policy.reshape(agents, states, 2, actions)
    logits = np.where(legal, theta, -np.inf)
    weights = np.exp(logits - logits.max(axis=2, keepdims=True))
    p = weights / weights.sum(axis=2, keepdims=True)
    assert np.array_equal(shaped[:, :, 0], logits)
    assert np.allclose(shaped[:, :, 1], p, rtol=0.0, atol=1e-15)
    assert (shaped[:, :, 1][~legal] == 0.0).all()
    back = np.zeros_like(theta)
    softmax_arithmetic.read_back(policy, legal, back)
    assert np.array_equal(back, np.where(legal, theta, 0.0))

    last = (legal * np.arange(actions)).max(axis=2).reshape(-1)
    cell = draw.integers(agents * states, size=2000)
    u = draw.random(2000)
    u[:100] = 1.0 - 2.0**-53
    drawn = each_draw(of_length(actions), policy, (cell * 2 * actions).astype(np.uint64), last[cell], u)
    cdf = np.cumsum(shaped[:, :, 1].reshape(-1, actions)[cell], axis=1)
    below = np.minimum(u, cdf[:, -1] * (1.0 - 2.0**-53))
    assert np.array_equal(drawn, (below[:, None] >= cdf).sum(axis=1))
    assert legal.reshape(-1, actions)[cell, drawn].all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.no_grad()
def test_a_draw_is_that_of_the_policy_at_every_border(dtype: torch.dtype) -> None:
    """u at, just below and just above every cumulative probability, which float32 rounds."""
    env = WirelessAccess(rows=4, cols=4)
    policy = TabularSoftmax(env, dtype=dtype)
    policy.theta.copy_(torch.randn(policy.theta.shape, generator=torch.Generator().manual_seed(3)))
    table = policy.probability_table()
    rows = torch.stack([torch.zeros_like(table), table], dim=3).flatten(1)[0].numpy()
    _, n, states, actions = table.shape
    checked = 0
    for state in range(states):
        s = torch.full((1, n), state)
        cdf = policy.probs(s).cumsum(dim=-1)[0]
        starts = ((np.arange(n) * states + state) * 2 * actions).astype(np.uint64)
        for x in range(actions):
            border = cdf[:, x].double()
            finest = border.numpy() + np.cumsum(table[0, :, state].double().numpy(), axis=1)[:, x]
            for u in (border, torch.from_numpy(finest / 2), border * (1 - 2.0**-53), border * (1 + 2.0**-52)):
                u = u.clamp(max=1 - 2.0**-53)
                last = policy._last_legal[policy._row + s[0]].numpy()
                drawn = each_draw(of_length(actions), rows, starts, last, u.numpy())
                assert drawn.tolist() == policy.sample(s, u[None])[0].tolist()
                checked += 1
    assert checked == 4 * states * actions


def test_a_row_that_is_not_a_number_gives_the_last_legal_action() -> None:
    policy = np.array([0.0, 1.0, 2.0, -np.inf, np.nan, np.nan, np.nan, np.nan])
    assert each_draw(of_length(4), policy, np.zeros(1, np.uint64), np.array([2]), np.array([0.5])).tolist() == [2]
