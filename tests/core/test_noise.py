"""Noise is a pure function of (seed + b, purpose, time, agent), and looks uniform and independent.

Where a test is statistical, a truly uniform source fails it with less than the stated probability; seeds are fixed.
"""

import math

import numpy as np
import pytest
import torch

from marl.core import noise as noise_module
from marl.core.errors import ConfigError
from marl.core.noise import Initializer, Noise, Purpose, stream_keys, uniforms

WORD = 2**64


def splitmix64(state: int, count: int) -> list[int]:
    """The generator as published: the state advances by the golden gamma before every output."""
    outputs = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % WORD
        x = state
        x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 % WORD
        x = (x ^ (x >> 27)) * 0x94D049BB133111EB % WORD
        outputs.append(x ^ (x >> 31))
    return outputs


def test_splitmix64_known_answer() -> None:
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert splitmix64(1234567, 5) == published
    drawn = uniforms(np.array([1234567, WORD - 5], dtype=np.uint64), 1, 5)
    assert drawn[0].tolist() == [(x >> 11) * 2.0**-53 for x in published]
    assert drawn[1].tolist() == [(x >> 11) * 2.0**-53 for x in splitmix64(WORD - 5, 5)]


def test_every_number_is_where_the_definition_puts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noise_module, "_BLOCK", 2 * 3 * 4 * 5 + 1)  # five times a block
    noise = Noise(8, 2, 3, 4, Purpose.EVALUATION)
    keys = stream_keys(8, 2, Purpose.EVALUATION)
    for t in range(17):
        expected = [
            [[uniforms(keys[b : b + 1], (t * 3 + i) * 4 + k, 1).item() for k in range(4)] for i in range(3)] for b in (0, 1)
        ]
        assert noise(t).tolist() == expected


@pytest.mark.parametrize("block", [1, 37, 1 << 18])
def test_pure_in_t_whatever_the_order_and_the_block(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    reference = Noise(3, 2, 4, 3, Purpose.TRAINING)
    times = [*range(12), 10_921, 10_922, 10_923, 10_924, 10**9]  # 2^18 numbers are 10,922 times
    expected = {t: reference(t).clone() for t in times}
    monkeypatch.setattr(noise_module, "_BLOCK", block)
    again = Noise(3, 2, 4, 3, Purpose.TRAINING)
    for t in [*reversed(times), *np.random.default_rng(0).permutation(times).tolist(), 5, 5]:
        assert torch.equal(again(t), expected[t])
    assert len({x for u in expected.values() for x in u.flatten().tolist()}) == len(times) * 2 * 4 * 3


def test_replica_b_of_seed_s_is_the_solo_run_of_seed_s_plus_b() -> None:
    batched = Noise(40, 5, 7, 3, Purpose.TRAINING)
    for b in range(5):
        solo = Noise(40 + b, 1, 7, 3, Purpose.TRAINING)
        for t in (0, 1, 4000, 10**6):
            assert torch.equal(solo(t)[0], batched(t)[b])


def test_streams_of_different_purposes_and_seeds_share_no_number() -> None:
    streams = {
        (seed, purpose): Noise(seed, 1, 50, 20, purpose)(0).flatten().tolist() for seed in (0, 1) for purpose in Purpose
    }
    numbers = [set(stream) for stream in streams.values()]
    assert len(set.union(*numbers)) == 2 * len(Purpose) * 1000


def test_seed_must_be_a_whole_number() -> None:
    with pytest.raises(ConfigError, match="seed must be a whole number of at least 0, got -1"):
        Noise(-1, 1, 1, 1, Purpose.TRAINING)


def test_there_must_be_a_replica() -> None:
    with pytest.raises(ConfigError, match="replicas must be a whole number of at least 1, got 0"):
        Initializer(0, 0, torch.float64, Purpose.POLICY_INIT)


def test_uniform_in_the_unit_interval() -> None:
    """Hoeffding on 2 + 64 averages, each allowed to fail with 1e-9: together below 1e-7."""
    u = Noise(0, 4, 64, 8, Purpose.TRAINING)
    x = torch.stack([u(t) for t in range(512)]).flatten()
    assert x.min() >= 0.0
    assert x.max() < 1.0
    assert ((x * 2.0**53) % 1.0).abs().max() == 0.0
    slack = math.sqrt(math.log(2 / 1e-9) / (2 * len(x)))
    assert abs(x.mean() - 1 / 2) < slack
    assert abs((x - 0.5).square().mean() - 1 / 12) < slack / 4
    share = torch.histc(x, 64, 0.0, 1.0) / len(x)
    assert (share - 1 / 64).abs().max() < slack


def test_neighboring_numbers_are_uncorrelated() -> None:
    """Products (u - 1/2)(u' - 1/2) are martingale differences of at most 1/4 (Azuma): 6 lags, together below 1e-8."""
    u = Noise(7, 4, 32, 4, Purpose.TRAINING)
    x = torch.stack([u(t) for t in range(2048)], dim=1) - 0.5  # [B, T, n, k]
    lagged = [
        x[..., 1:] * x[..., :-1],
        x[..., 2:] * x[..., :-2],
        x[:, :, 1:] * x[:, :, :-1],
        x[:, 1:] * x[:, :-1],
        x[:, 256:] * x[:, :-256],
        x[1:] * x[:-1],
    ]
    for product in lagged:
        assert abs(product.mean()) < 0.25 * math.sqrt(2 * math.log(2 / 1e-9) / product.numel())


def test_initializer_batched_equals_solo_and_never_repeats() -> None:
    batched = Initializer(6, 3, torch.float64, Purpose.POLICY_INIT)
    drawn = [batched.uniform(4, 5, bound=0.3), batched.uniform(7, bound=2.0)]
    for b in range(3):
        solo = Initializer(6 + b, 1, torch.float64, Purpose.POLICY_INIT)
        for together in drawn:
            alone = solo.uniform(*together.shape[1:], bound=0.3 if together.dim() == 3 else 2.0)
            assert torch.equal(alone[0], together[b])
    unit = [*(drawn[0] / 0.3).flatten().tolist(), *(drawn[1] / 2.0).flatten().tolist()]
    assert len({round(x, 12) for x in unit}) == 3 * (20 + 7)
    assert all(-1.0 <= x < 1.0 for x in unit)
    assert max(unit) > 0.9
    assert min(unit) < -0.9


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_initializer_makes_parameters_of_the_dtype(dtype: torch.dtype) -> None:
    initial = Initializer(0, 2, dtype, Purpose.CRITIC_INIT)
    for parameter in (initial.zeros(3), initial.uniform(3, bound=1.0)):
        assert (tuple(parameter.shape), parameter.dtype, parameter.requires_grad) == ((2, 3), dtype, True)
    assert initial.zeros(3).abs().sum() == 0.0
