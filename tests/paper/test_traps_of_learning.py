"""Traps 5, 7 and 10 for who reads the paper: keys, summaries and step sizes."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from marl.core.indexing import NeighborhoodKeys
from marl.envs import WirelessAccess
from marl.runs.last_tenth import LastTenth
from marl.schedulers import Constant, PowerLaw, TwoTimescale


def test_trap_5_keys_of_tables_too_large_to_list() -> None:
    env = WirelessAccess()
    z = env.index.num_pairs
    assert z.max() == 16  # 1 + 3 * 5: all that can be done with an empty queue is one pair
    one = NeighborhoodKeys(env.network.neighborhood(1), z)
    assert one.total > 16.0**9
    assert one.exact
    assert one.pair_collision_bound == 0.0
    two = NeighborhoodKeys(env.network.neighborhood(2), z)
    assert not two.exact
    assert two.pair_collision_bound == 8 / 2**63  # 8 is the largest power of two not above 16 - 1
    draw = np.random.default_rng(0)
    joint = torch.from_numpy(np.unique(draw.integers(z.numpy(), size=(40_000, 25)), axis=0))
    center = joint[:, env.network.neighborhood(1).index[12]]
    different = len(center.unique(dim=0))
    assert len(one.keys(joint)[:, 12].unique()) == different  # an exact key merges nothing and splits nothing
    assert len(two.keys(joint)[:, 12].unique()) == len(joint)
    assert len(joint) ** 2 / 2 * two.pair_collision_bound < 1e-8  # what may be expected of them


def test_trap_7_a_run_is_summed_up_by_its_last_tenth() -> None:
    """Rewards 0, 1, 0, 1, ... after a poor start: 0.5, whatever the last one was and wherever the run was looked at."""
    for stops in (range(101), range(0, 101, 9), (0, 90, 100), (0, 94)):
        last_tenth = LastTenth(100)
        trainer: Any
        for t in stops:
            trainer = SimpleNamespace(t=t, total_reward=torch.tensor([max(0, t - 80) // 2], dtype=torch.float64))
            last_tenth.reach(trainer)
        trainer = SimpleNamespace(t=100, total_reward=torch.tensor([10.0], dtype=torch.float64))
        assert last_tenth.average(trainer) == [0.5]
    assert LastTenth(100).start == 90


def test_trap_10_the_failing_part_of_assumption_3_is_named() -> None:
    constant = TwoTimescale.check(Constant(0.1), Constant(0.01))
    assert constant.holds is False
    assert constant.square_summable is False
    assert constant.ratio_summable is False
    assert constant.not_summable is True
    assert str(constant) == "Assumption 3 fails: square summable, ratio summable"
    assert TwoTimescale.check(PowerLaw(1.0, 0.6), PowerLaw(1.0, 0.8)).holds
    slow = TwoTimescale.check(PowerLaw(1.0, 0.5), PowerLaw(1.0, 0.8))
    assert slow.square_summable is False
