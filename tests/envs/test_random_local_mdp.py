"""Random instances of appendix B.4: the order of the draws, the two laws of a row, and the arguments."""

import itertools
import math
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs import LocalMDP, random_local_mdp
from marl.testing import check_environment

ROWS = 200_000
LEVEL = math.log(2 / 1e-9)
"""A mean of K numbers in [0, 1] misses its expectation by more than sqrt(LEVEL / 2K) with probability 1e-9 (Hoeffding)."""


def same(one: LocalMDP, other: LocalMDP) -> bool:
    tables = zip(itertools.chain(*one.as_tables()), itertools.chain(*other.as_tables()), strict=True)
    return all(np.array_equal(x, y) for x, y in tables)


@pytest.mark.parametrize("private_rewards", [True, False])
@pytest.mark.parametrize("private_actions", [True, False])
@pytest.mark.parametrize("distribution", ["normalized", "dirichlet"])
def test_contract(distribution: str, private_actions: bool, private_rewards: bool) -> None:
    env = random_local_mdp(
        graph=Network.from_edges(4, [(0, 1), (1, 3)]),
        num_states=[2, 1, 3, 2],
        num_actions=[3, 2, 1, 2],
        distribution=distribution,
        private_actions=private_actions,
        private_rewards=private_rewards,
        reward_low=-1.0,
        reward_high=2.0,
    )
    assert (env.private_actions, env.private_rewards) == (private_actions, private_rewards)
    assert (env.num_states.tolist(), env.num_actions.tolist()) == ([2, 1, 3, 2], [3, 2, 1, 2])
    check_environment(env, draws=2_000)


def test_the_default_is_the_line_of_appendix_b4() -> None:
    env = random_local_mdp()
    assert np.array_equal(env.network.edges, Network.line(10).edges)
    assert (env.num_states.tolist(), env.num_actions.tolist()) == ([2] * 10, [3] * 10)
    assert (env.private_actions, env.private_rewards) == (True, True)
    assert 0.0 <= env.reward_range[0] < 0.2 < 0.8 < env.reward_range[1] <= 1.0


@pytest.mark.parametrize("distribution", ["normalized", "dirichlet"])
@pytest.mark.parametrize("interaction", [1.0, 0.25])
def test_draws_go_agent_by_agent_transition_first(distribution: str, interaction: float) -> None:
    draw = np.random.default_rng(5)
    laws, rewards = [], []
    for shape, reward_shape in (((2, 2, 3), (2, 3)), ((2, 2, 2, 3), (2, 3)), ((2, 2, 3), (2, 3))):
        if distribution == "normalized":
            weight = draw.random((*shape, 2))
            rows = weight / weight.sum(axis=-1, keepdims=True)
        else:
            rows = draw.dirichlet([1.0, 1.0], size=shape)
        rewards.append(draw.uniform(-1.0, 1.0, reward_shape))
        if distribution == "normalized":
            weight = draw.random(2)
            common = weight / weight.sum()
        else:
            common = draw.dirichlet([1.0, 1.0])
        laws.append(rows if interaction == 1.0 else (1.0 - interaction) * common + interaction * rows)
    expected = LocalMDP(Network.line(3), laws, rewards)
    settings = {"distribution": distribution, "reward_low": -1.0, "interaction": interaction, "instance_seed": 5}
    assert same(random_local_mdp("line:3", **settings), expected)


def test_without_interaction_nothing_matters_to_the_next_state() -> None:
    env = random_local_mdp("ring:4", interaction=0.0)
    for table in env.as_tables()[0]:
        assert np.ptp(table.reshape(-1, 2), axis=0).max() < 1e-15


def test_the_seed_is_the_instance() -> None:
    assert same(random_local_mdp(instance_seed=3), random_local_mdp(instance_seed=3))
    seeds = [random_local_mdp(instance_seed=seed) for seed in range(4)]
    assert not any(same(x, y) for x, y in itertools.combinations(seeds, 2))


@pytest.mark.parametrize(("distribution", "square"), [("normalized", 1 - math.log(2)), ("dirichlet", 1 / 3)])
def test_moments_of_a_row(distribution: str, square: float) -> None:
    """For two states: U/(U+V) has density 1/(2 max(x, 1-x)^2), so second moment 1 - log 2; the flat Dirichlet is U[0,1].

    The two differ by 0.0265, more than three times what the mean of 200,000 independent rows can miss by.
    """
    env = random_local_mdp("line:1", num_states=2, num_actions=ROWS // 2, distribution=distribution, instance_seed=1)
    first = env.as_tables()[0][0][..., 0].ravel()
    margin = math.sqrt(LEVEL / (2 * ROWS))
    assert len(first) == ROWS
    assert margin < 0.0265 / 3
    assert abs(first.mean() - 0.5) < margin
    assert abs((first**2).mean() - square) < margin


def test_rewards_are_uniform_in_their_range() -> None:
    env = random_local_mdp("line:1", num_actions=ROWS // 2, reward_low=-3.0, reward_high=-1.0)
    unit = (env.as_tables()[1][0].ravel() + 3.0) / 2.0
    margin = math.sqrt(LEVEL / (2 * ROWS))
    assert (unit.min() >= 0.0) & (unit.max() <= 1.0)
    assert abs(unit.mean() - 1 / 2) < margin
    assert abs((unit**2).mean() - 1 / 3) < margin


def test_a_constant_reward_is_allowed() -> None:
    env = random_local_mdp("line:2", reward_low=0.5, reward_high=0.5)
    zero = torch.zeros(2, dtype=torch.int64)
    assert (env.reward_range, env.reward(zero, zero).tolist()) == ((0.5, 0.5), [0.5, 0.5])


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"graph": "line:0"}, "env.graph='line:0'"),
    ({"num_states": 0}, "env.num_states[0] must be a whole number of at least 1, got 0"),
    ({"num_states": [2] * 9}, "env.num_states needs 10 values, one for each agent, got 9"),
    ({"num_actions": [3] * 9 + [0]}, "env.num_actions[9] must be a whole number of at least 1, got 0"),
    ({"num_actions": "many"}, "env.num_actions[0]"),
    ({"distribution": "uniform"}, "env.distribution must be one of normalized, dirichlet, got 'uniform'"),
    ({"private_actions": 1}, "env.private_actions must be true or false, got 1"),
    ({"private_rewards": None}, "env.private_rewards must be true or false, got None"),
    ({"reward_low": math.nan}, "env.reward_low must be a finite number"),
    ({"reward_high": math.inf}, "env.reward_high must be a finite number"),
    ({"reward_low": 2.0}, "env.reward_low=2 must not be above env.reward_high=1"),
    ({"reward_low": -1e308, "reward_high": 1e308}, "env.reward_low=-1e+308 must not be above env.reward_high=1e+308"),
    ({"instance_seed": -1}, "env.instance_seed must be a whole number of at least 0, got -1"),
    ({"num_states": 10_000}, "the tables need 2.4e+17 entries, more than 134217728"),
    ({"graph": "geometric:1200:2"}, "the tables need over 1e300 entries, more than 134217728"),
    ({"num_states": [10**6] + [1] * 9}, "entries, more than 134217728"),
]


@pytest.mark.parametrize(("arguments", "words"), REFUSED, ids=[repr(arguments)[:40] for arguments, _ in REFUSED])
def test_refusals(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], words: str) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError) as raised:
        random_local_mdp(**arguments)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
