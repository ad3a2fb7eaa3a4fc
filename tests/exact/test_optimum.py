"""The optimum against lists of all joint choices, a linear program, and the figures of docs/systems."""

import math
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
import torch

from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs import (
    Coloring,
    Epidemic,
    Firefighters,
    LoadBalancing,
    LocalMDP,
    Scheduling,
    SysAdmin,
    TrafficSignals,
    WirelessAccess,
    random_local_mdp,
)
from marl.exact import AverageValues, Chain, optimum
from marl.policies import RandomTable
from tests.envs.joint import joint_states
from tests.exact.optimum_oracle import Listed, by_iteration, by_program, earned, listed
from tests.programs import program

mixed_tables = program("local_policies").mixed_tables

TABLES = {"distribution": "dirichlet", "reward_low": -1.0}
ENVIRONMENTS: dict[str, Callable[[], NetworkedMDP]] = {
    "private": lambda: random_local_mdp("line:4", num_states=[2, 3, 2, 2], num_actions=[2, 1, 3, 2], **TABLES),
    "shared": lambda: random_local_mdp(
        "ring:4", num_states=[2, 2, 3, 2], num_actions=[2, 3, 2, 1], private_actions=False, private_rewards=False, **TABLES
    ),
    "private actions only": lambda: random_local_mdp(
        "line:3", num_states=3, num_actions=2, private_rewards=False, **TABLES
    ),
    "star": lambda: random_local_mdp(
        Network.from_edges(4, [(3, 0), (3, 1), (3, 2)]),
        num_states=2,
        num_actions=[2, 3, 2, 2],
        private_actions=False,
        **TABLES,
    ),
    "masked": lambda: Scheduling(Network.ring(3), buffer=2, arrival=[0.2, 0.3, 0.1], success=[0.9, 0.8, 0.7]),
    "many actions": lambda: LoadBalancing(Network.line(3), buffer=[2, 1, 2], arrival=0.5, service=[0.6, 0.4, 0.8]),
    "collisions": lambda: WirelessAccess(rows=1, cols=3, access_points="corners", arrival=[0.4, 0.6, 0.5], success=0.8),
    "epidemic": lambda: Epidemic(
        Network.ring(3), infection=0.6, recovery=[0.2, 0.3, 0.5], import_rate=0.05, cost=0.2, mutual=True
    ),
    "firefighters": lambda: Firefighters(3, levels=1, spontaneous=0.1),
    "machines": lambda: SysAdmin(Network.line(2)),
    "signals": lambda: TrafficSignals(rows=1, cols=1, capacity=1, arrival=[0.2, 0.3, 0.4, 0.1]),
    "one agent": lambda: random_local_mdp("line:1", num_states=4, num_actions=3, **TABLES),
}


@cache
def made(name: str) -> tuple[NetworkedMDP, Listed]:
    env = ENVIRONMENTS[name]()
    return env, listed(env)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_average_optimum_equals_iteration_over_lists_and_a_linear_program(name: str) -> None:
    env, every = made(name)
    found = optimum(env)
    assert found.high - found.low <= 1e-8
    assert found.low <= by_program(every) + 1e-8
    assert found.high >= by_program(every) - 1e-8
    np.testing.assert_allclose(by_iteration(every), found.low, rtol=0.0, atol=1e-8)
    assert earned(every, found.actions.numpy()) == pytest.approx(found.low, abs=1e-8)


@pytest.mark.parametrize("name", ["private", "shared", "masked", "many actions"])
def test_discounted_and_soft_optimum_equal_iteration_over_lists(name: str) -> None:
    env, every = made(name)
    for temperature in (0.0, 0.3):
        value = by_iteration(every, 0.9, temperature, env.n, sweeps=300)
        found = optimum(env, gamma=0.9, temperature=temperature)
        np.testing.assert_allclose(found.values, value, rtol=0.0, atol=1e-8)
        assert found.low <= value.mean() + 1e-10
        assert found.high >= value.mean() - 1e-10
    soft = optimum(env, temperature=0.3)
    np.testing.assert_allclose(by_iteration(every, 1.0, 0.3, env.n), soft.low, rtol=0.0, atol=1e-8)


def test_bracket_holds_long_before_it_is_narrow() -> None:
    env, _ = made("shared")
    right = optimum(env).low
    for tolerance in (1.0, 0.3, 0.1, 0.01):
        early = optimum(env, tolerance=tolerance)
        assert early.low <= right <= early.high
    assert optimum(env, tolerance=0.3).backups < optimum(env).backups


KNOWN: dict[str, tuple[Callable[[], NetworkedMDP], float]] = {
    "S1 4 3 .5 .6": (lambda: LoadBalancing(Network.ring(4), buffer=3, arrival=0.5, service=0.6), -0.0050),
    "S1 4 3 .4 .5": (lambda: LoadBalancing(Network.ring(4), buffer=3, arrival=0.4, service=0.5), -0.0043),
    "S1 4 3 .6 .6": (lambda: LoadBalancing(Network.ring(4), buffer=3, arrival=0.6, service=0.6), -0.0335),
    "S1 5 2 .5 .6": (lambda: LoadBalancing(Network.ring(5), buffer=2, arrival=0.5, service=0.6), -0.0251),
    "S2": (lambda: epidemic(6), -0.0445),
    "S3 4": (lambda: Firefighters(4, levels=2, spontaneous=0.05), -0.0100),
    "S3 5": (lambda: Firefighters(5, levels=2, spontaneous=0.05), -0.0083),
}


def epidemic(n: int) -> Epidemic:
    return Epidemic(Network.ring(n), infection=0.6, recovery=0.3, import_rate=0.01, leak=0.0, cost=0.2)


@pytest.mark.parametrize("name", KNOWN)
def test_known_optima_to_the_digits_shown(name: str) -> None:
    make, value = KNOWN[name]
    found = optimum(make())
    assert round(found.low, 4) == round(found.high, 4) == value


def test_known_soft_optima() -> None:
    """The mean over joint states of the soft value, ring of 6: an epidemic, and random tables of two strengths."""
    env = epidemic(6)
    assert optimum(env, gamma=0.9, temperature=0.1).low == pytest.approx(-1.830, abs=1e-3)
    assert optimum(env, gamma=0.9, temperature=0.5).low == pytest.approx(0.178, abs=1e-3)
    assert optimum(mixed_tables(1.0, 1), gamma=0.9, temperature=0.1).low == pytest.approx(6.294, abs=1e-3)
    assert optimum(mixed_tables(0.3, 0), gamma=0.9, temperature=0.1).low == pytest.approx(7.530, abs=1e-3)


def test_one_setting_after_the_other_is_periodic() -> None:
    """An agent that changes its state in every step, rewarded in one of two: J* = 1/2, and full steps would swing."""
    flip = LocalMDP(Network.line(1), [np.array([[[0.0, 1.0]], [[1.0, 0.0]]])], [np.array([[0.0], [1.0]])])
    found = optimum(flip)
    assert found.low == pytest.approx(0.5, abs=1e-9)
    assert found.high == pytest.approx(0.5, abs=1e-9)


def test_periods_that_show_late_are_noticed() -> None:
    """One agent changes its state in every step, the other one mixes: the bracket halves at first, and then swings."""
    hop = np.array([[[0.0, 1.0]], [[1.0, 0.0]]])  # [s, a, s']
    slow = np.array([[[[0.7, 0.3]], [[0.7, 0.3]]], [[[0.2, 0.8]], [[0.2, 0.8]]]])  # [s_0, s_1, a, s'], that of s_0 is kept
    env = LocalMDP(
        Network.line(2), [np.stack([hop] * 2, axis=1), slow], [np.array([[0.0], [0.1]]), np.array([[0.0], [9.0]])]
    )
    found = optimum(env)
    assert found.high - found.low <= 1e-8
    assert found.backups < 100


@pytest.mark.parametrize("gamma", [0.9, 1.0 - 1e-6, 1.0 - 1e-8])
def test_rounding_is_in_the_bracket_however_far_rewards_are_counted(gamma: float) -> None:
    """The value of the actions that were found, in fractions, is in the bracket."""
    env = random_local_mdp("line:2", num_states=2, num_actions=2, reward_low=6.0, reward_high=8.0)
    found = optimum(env, gamma=gamma)
    value = in_fractions(env, found.actions.tolist(), Fraction(gamma))
    assert found.low <= value <= found.high
    assert found.high - found.low <= 1e-12 * found.high / (1.0 - gamma)


def in_fractions(env: NetworkedMDP, actions: list[list[int]], gamma: Fraction) -> Fraction:
    """The mean over joint states of the discounted value of a table of joint actions, by elimination."""
    states = joint_states(env)
    law, reward = env.transition(states, torch.tensor(actions)), env.reward(states, torch.tensor(actions))
    count, rows = len(states), []
    for x in range(count):
        chance = [[Fraction(p) / sum(map(Fraction, row)) for p in row] for row in law[x].tolist()]
        step = [math.prod(chance[i][k] for i, k in enumerate(after)) for after in states.tolist()]
        rows.append([(x == y) - gamma * p for y, p in enumerate(step)] + [sum(map(Fraction, reward[x].tolist())) / env.n])
    for c in range(count):
        rows[c] = [entry / rows[c][c] for entry in rows[c]]
        for x in set(range(count)) - {c}:
            rows[x] = [entry - rows[x][c] * pivot for entry, pivot in zip(rows[x], rows[c], strict=True)]
    return sum(row[-1] for row in rows) / Fraction(count)


def test_where_the_optimum_depends_on_the_start_the_bracket_holds_all_of_it() -> None:
    stay = LocalMDP(Network.line(1), [np.array([[[1.0, 0.0]], [[0.0, 1.0]]])], [np.array([[0.0], [1.0]])])
    found = optimum(stay)
    assert found.low == pytest.approx(0.0, abs=1e-6)
    assert found.high == pytest.approx(1.0, abs=1e-6)


def test_coloring_has_the_optimum_one() -> None:
    """A line can be colored; most joint states are never seen again."""
    found = optimum(Coloring(Network.line(3), 2))
    assert found.low == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("seeds", [range(20), pytest.param(range(20, 200), marks=pytest.mark.slow)], ids=["20", "180 more"])
def test_nothing_that_is_followed_earns_more(seeds: range) -> None:
    """200 random instances under random policies: none earns more than the optimum. Exact, so no error probability."""
    for seed in seeds:
        shared = seed % 2 == 1
        env = random_local_mdp(
            ["line:3", "ring:3", "line:2"][seed % 3],
            num_actions=2,
            private_actions=not shared,
            instance_seed=seed,
            **TABLES,
        )
        best = optimum(env)
        assert float(AverageValues(Chain(env, RandomTable(env, instance_seed=seed))).J.mean()) <= best.high
        assert best.high - best.low <= 1e-8


def test_memory_does_not_grow_with_pairs_of_joint_states() -> None:
    """8,192 joint states and one joint action: an array over pairs of states took 256 MB at the least."""
    env = random_local_mdp("line:13", num_states=2, num_actions=1, **TABLES)
    only = float(AverageValues(Chain(env, RandomTable(env))).J.mean())
    tracemalloc.start()
    found = optimum(env, tolerance=1e-6)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found.low <= only <= found.high
    assert peak < 2**26


@pytest.mark.slow
def test_twelve_agents_in_a_minute() -> None:
    """4,096 joint states with 4,096 joint actions each."""
    found = optimum(mixed_tables(1.0, 1, n=12), tolerance=1e-7)
    assert found.high - found.low <= 1e-6
    best = optimum(mixed_tables(1.0, 1, n=12), gamma=0.9, temperature=0.1)
    assert best.high - best.low <= 1e-6


def test_refusals_are_sentences_with_sizes() -> None:
    with pytest.raises(ConfigError, match=r"1\.05e\+06 joint states with 1\.1e\+12 joint pairs need .* GiB at least"):
        optimum(epidemic(20))
    with pytest.raises(ConfigError, match=r"more than the 0\.001 GiB allowed"):
        optimum(epidemic(8), memory=0.001)
    with pytest.raises(ConfigError, match=r"2\.82e\+11 joint pairs are more than the 2\.68e\+08 pairs among which"):
        optimum(random_local_mdp("line:12", num_states=3, num_actions=3), memory=1e6)
    with pytest.raises(ConfigError, match="gamma"):
        optimum(epidemic(3), gamma=1.5)
    with pytest.raises(ConfigError, match="temperature"):
        optimum(epidemic(3), temperature=-1.0)
    with pytest.raises(ConfigError, match="tolerance"):
        optimum(epidemic(3), tolerance=float("nan"))


def test_actions_are_legal_and_the_same_again() -> None:
    env, _ = made("masked")
    one, two = optimum(env), optimum(env)
    assert torch.equal(one.actions, two.actions)
    states = torch.cartesian_prod(*(torch.arange(k) for k in env.num_states.tolist()))
    assert env.action_mask[torch.arange(env.n), states, one.actions].all()
