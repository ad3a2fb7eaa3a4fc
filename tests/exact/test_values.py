"""What `AverageValues` and `DiscountedValues` share, and what only one of them has."""

import inspect

import pytest
import torch

from marl.envs import random_local_mdp
from marl.exact import AverageValues, Chain, DiscountedValues, JointPairs, Values, discounted_pairs
from marl.policies import RandomTable

BOTH = [AverageValues, DiscountedValues]


@pytest.fixture
def chain() -> Chain:
    env = random_local_mdp("line:3", interaction=0.4, instance_seed=2)
    return Chain(env, RandomTable(env))


def test_neither_is_the_other() -> None:
    assert [kind.__bases__ for kind in BOTH] == [(Values,), (Values,)]
    assert [getattr(kind, "__final__", False) for kind in BOTH] == [True, True]
    assert inspect.isabstract(Values)


@pytest.mark.parametrize("kind", BOTH)
def test_nothing_that_is_shared_is_given_another_meaning(kind: type[Values]) -> None:
    """A kind defines what is abstract, all of it, and what only it has."""
    defined = {name for name in vars(kind) if not name.startswith("_")}
    shared = {name for name in vars(Values) if not name.startswith("_")}
    assert shared == set(Values.__abstractmethods__)
    assert defined - shared == ({"stationary"} if kind is AverageValues else {"occupancy"})


def test_each_has_the_measure_of_its_own_setting(chain: Chain) -> None:
    average, discounted = AverageValues(chain), DiscountedValues(chain, 0.9)
    assert not hasattr(average, "occupancy")
    assert not hasattr(discounted, "stationary")
    assert torch.equal(average.state_weights, average.stationary)
    assert torch.equal(discounted.state_weights, discounted.occupancy)
    assert float(average.stationary.sum()) == pytest.approx(1.0)
    assert float(discounted.occupancy.sum()) == pytest.approx(10.0)


def test_joint_pairs_are_weighed_by_it(chain: Chain) -> None:
    average, discounted = JointPairs(chain), discounted_pairs(chain, 0.9)
    assert isinstance(average.values, AverageValues)
    assert torch.equal(average.pair_weights, average.stationary)
    assert float(average.pair_weights.sum()) == pytest.approx(1.0)
    assert float(discounted.pair_weights.sum()) == pytest.approx(10.0)
    given = JointPairs(chain, AverageValues(chain))
    assert torch.equal(given.q, average.q)
