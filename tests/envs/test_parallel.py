"""Environments as PettingZoo's: its own tests, and the same long-run average."""

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

from marl import (
    Coloring,
    ConfigError,
    FiniteEnvironment,
    ParallelEnvironment,
    Uniform,
    WirelessAccess,
    evaluate,
    random_local_mdp,
)

ENVIRONMENTS = {
    "earliest": lambda: WirelessAccess(rows=2, cols=3),
    "any_slot": lambda: WirelessAccess(rows=2, cols=2, action_set="any_slot", deadline=[1, 2, 3, 2]),
    "coloring": lambda: Coloring(graph="ring:5", colors=3),
    "tables": lambda: random_local_mdp(graph="line:4", instance_seed=0),
}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_its_own_tests(name: str) -> None:
    env = ENVIRONMENTS[name]()
    parallel_api_test(ParallelEnvironment(env, 50), num_cycles=120)
    parallel_seed_test(lambda: ParallelEnvironment(env, 50), num_cycles=60)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_long_run_average_is_that_of_our_evaluation(name: str) -> None:
    """Both are estimates; 5 standard errors of their difference are passed with probability below 1e-6."""
    env: FiniteEnvironment = ENVIRONMENTS[name]()
    wrapped, draw = ParallelEnvironment(env, 4000), np.random.default_rng(1)
    _, infos = wrapped.reset(seed=0)
    rewards = []
    while wrapped.agents:
        actions = {agent: draw.choice(np.flatnonzero(infos[agent]["action_mask"])) for agent in wrapped.agents}
        _, earned, _, _, infos = wrapped.step(actions)
        rewards.append(np.mean(list(earned.values())))
    batches = np.mean(np.reshape(rewards, (20, -1)), axis=1)
    expected = evaluate(env, Uniform(env), steps=4000)
    error = np.hypot(batches.std(ddof=1) / 20**0.5, expected.half_width.item() / 2.093)
    assert len(rewards) == 4000
    assert abs(batches.mean() - expected.average_reward.item()) < 5 * error


def test_an_illegal_action_is_the_first_legal_one() -> None:
    env = WirelessAccess(rows=2, cols=2, arrival=0.0)
    wrapped = ParallelEnvironment(env)
    observations, infos = wrapped.reset(seed=0)
    assert set(observations.values()) == {0}
    assert all(info["action_mask"].tolist() == [1, 0] for info in infos.values())
    observations, rewards, ended, cut, _ = wrapped.step(dict.fromkeys(wrapped.agents, 1))
    assert set(rewards.values()) == {0.0}
    assert not any(ended.values())
    assert not any(cut.values())
    with pytest.raises(ConfigError, match="agent_0 has actions 0 to 1, got 2"):
        wrapped.step(dict.fromkeys(wrapped.agents, 2))
    assert wrapped.state().tolist() == [0] * 4


def test_noise_goes_on_without_a_seed() -> None:
    wrapped = ParallelEnvironment(WirelessAccess(rows=4, cols=4))
    first = wrapped.reset(seed=3)[0]
    assert wrapped.reset()[0] != first
    assert wrapped.reset(seed=3)[0] == first
