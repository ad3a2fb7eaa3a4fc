"""What a run holds is counted, and what it will take is foretold."""

import sys

import numpy as np
import pytest
import torch

from marl import Constant, ScalableActorCritic, TabularCritic, TabularSoftmax, WirelessAccess
from marl.runs.memory import bytes_held


def test_arrays_are_counted_once() -> None:
    class Part:
        def __init__(self) -> None:
            self.array = np.zeros(1000)
            self.view = self.array[10:]
            self.tensor = torch.from_numpy(self.array)
            self.other = [torch.zeros(500, dtype=torch.float32), {"more": np.zeros(100, dtype=np.int8)}]

    part = Part()
    assert 10_100 <= bytes_held(part, part) <= 11_500
    assert bytes_held(part, np.zeros(10**6)) >= bytes_held(part) + 8 * 10**6


def test_lists_of_numbers_are_counted_once_with_what_is_in_them() -> None:
    numbers = [float(k) for k in range(1000)]
    rows = [numbers, numbers[:500], (1.5, 2.5)]
    lists = sys.getsizeof(rows) + sum(map(sys.getsizeof, rows))
    assert bytes_held(rows, numbers) == lists + 1002 * sys.getsizeof(0.5)


@pytest.mark.parametrize(
    ("kappa", "replicas", "dtype"), [(0, 1, torch.float64), (1, 2, torch.float64), (1, 1, torch.float32)]
)
def test_the_growth_of_a_table_is_foretold(kappa: int, replicas: int, dtype: torch.dtype) -> None:
    """An upper bound, and it is met while nearly every step meets new joint pairs."""
    env = WirelessAccess(rows=6, cols=6)
    critic = TabularCritic(env, kappa=kappa, storage="hash", replicas=replicas, dtype=dtype)
    policy = TabularSoftmax(env, replicas=replicas, dtype=dtype)
    trainer = ScalableActorCritic(env, policy, critic, critic_scheduler=Constant(0.1), actor_scheduler=Constant(1.0))
    before = critic.table.metrics()["bytes"]
    first, growth = trainer.memory_ahead(500)
    trainer.run(500)
    grown = critic.table.metrics()["bytes"] - before
    assert first > 0
    assert grown == growth if kappa == 1 else grown <= growth
    assert TabularCritic(env).table.growth(10**9) == 0
