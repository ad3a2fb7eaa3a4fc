"""Environments as PettingZoo's: its own tests, and the same long-run average."""

from collections.abc import Callable

import jaxtyping
import numpy as np
import pytest
import torch
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test
from pettingzoo.utils.conversions import parallel_to_aec

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


@pytest.mark.filterwarnings("ignore:Observation is not a NumPy array", "ignore:Agents have different")  # it may be both
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_the_tests_of_environments_that_take_turns(name: str) -> None:
    """... whose spaces demand observations of their own type."""
    wrapped = ParallelEnvironment(ENVIRONMENTS[name](), 20)
    api_test(parallel_to_aec(wrapped), num_cycles=50)
    observations, _ = wrapped.reset(seed=1)
    spaces = [wrapped.observation_space(agent) for agent in wrapped.agents]
    assert all(
        seen in space and seen.dtype == space.dtype for seen, space in zip(observations.values(), spaces, strict=True)
    )


@pytest.mark.parametrize("kind", [int, np.uint8, np.int32, np.array, torch.tensor])
def test_actions_are_whole_numbers_of_any_kind(kind: Callable[[int], object]) -> None:
    wrapped = ParallelEnvironment(WirelessAccess(rows=2, cols=2, arrival=1.0))
    wrapped.reset(seed=0)
    one = wrapped.step({agent: kind(1) for agent in wrapped.agents})
    wrapped.reset(seed=0)
    assert wrapped.step(dict.fromkeys(wrapped.agents, 1))[:2] == one[:2]


def test_what_is_no_action_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # what a user sees
    wrapped = ParallelEnvironment(WirelessAccess(rows=2, cols=2))
    with pytest.raises(ConfigError, match="no episode to take a step in; call reset first"):
        wrapped.step({})
    wrapped.reset(seed=0)
    with pytest.raises(ConfigError, match=r"the action of agent_0 must be a whole number, got 1\.7"):
        wrapped.step(dict.fromkeys(wrapped.agents, 1.7))
    with pytest.raises(ConfigError, match=r"a dictionary with an action of every agent, got \[0, 0, 0, 0\]"):
        wrapped.step([0, 0, 0, 0])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="the actions lack agent_3"):
        wrapped.step(dict.fromkeys(wrapped.agents[:3], 0))


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
