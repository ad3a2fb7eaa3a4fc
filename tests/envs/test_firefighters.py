"""Firefighters: the law against plain loops, compiled steps, and the values of small rows."""

import itertools
from collections.abc import Callable
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

from marl.core.errors import ConfigError
from marl.critics import TabularCritic
from marl.envs import Firefighters
from marl.envs.firefighters import FightAlternately, FightHigher, FightLower
from marl.policies import TabularSoftmax, Uniform
from marl.schedulers import Constant, PowerLaw
from marl.testing import check_environment, check_fused_step, random_inputs
from marl.trainers import ScalableActorCritic
from tests.envs.joint import average_reward, optimal_reward
from tests.trainers.test_fused import assert_equal

OWN: dict[str, Any] = {
    "agents": 4,
    "levels": [1, 3, 2, 4, 1],
    "spontaneous": [0.0, 0.1, 0.2, 0.3, 1.0],
    "ignition": [0.5, 0.4, 1.0, 0.2, 0.0],
    "growth": [0.1, 1.0, 0.0, 0.3, 0.9],
    "growth_beside": [0.2, 0.6, 1.0, 0.0, 0.7],
    "dousing": [1.0, 0.5, 0.0, 0.9, 0.3],
    "dousing_beside": [0.0, 0.4, 1.0, 0.8, 0.6],
}
"""A row whose houses have nothing in common."""
CASES: dict[str, dict[str, Any]] = {
    "row": {"agents": 5},
    "two houses": {"agents": 1, "levels": 1},
    "own": OWN,
    "cell": {"rows": 1, "cols": 1},
    "strip": {"rows": 3, "cols": 1, "levels": 1},
    "grid": {"rows": 2, "cols": 3, "levels": [1 + h % 3 for h in range(12)], "growth": [h / 11 for h in range(12)]},
}


@pytest.fixture(params=CASES, ids=list(CASES))
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    return CASES[request.param]


def houses_of(given: dict[str, Any]) -> list[tuple[int, int]]:
    """Row and column of every house."""
    if "agents" in given:
        return [(0, column) for column in range(given["agents"] + 1)]
    return list(itertools.product(range(given["rows"] + 1), range(given["cols"] + 1)))


def visited_by(given: dict[str, Any], place: tuple[int, int]) -> list[tuple[int, int]]:
    """The houses around the agent that the node of this house carries, in the order of its actions; none without one."""
    row, column = place
    shifts = [(0, 0), (0, 1)] if "agents" in given else [(0, 0), (0, 1), (1, 0), (1, 1)]
    around = [(row + down, column + right) for down, right in shifts]
    return around if all(house in houses_of(given) for house in around) else []


def law(given: dict[str, Any], s: list[int], a: list[int], h: int) -> dict[int, float]:
    """Level -> probability of house h in the next step, as the model is told."""
    houses = houses_of(given)

    def parameter(name: str, default: float) -> Any:
        value = given.get(name, default)
        return value[h] if isinstance(value, list) else value

    row, column = houses[h]
    sides = [(row, column - 1), (row, column + 1), (row - 1, column), (row + 1, column)]
    beside = any(side in houses and s[houses.index(side)] > 0 for side in sides)
    visitors = 0
    for place, action in zip(houses, a, strict=True):
        around = visited_by(given, place)
        visitors += bool(around) and around[action] == houses[h]
    level, top = s[h], parameter("levels", 2)
    if visitors >= 2:
        return {0: 1.0}
    if visitors == 1:
        if level == 0:
            return {0: 1.0}
        p = parameter("dousing_beside", 0.6) if beside else parameter("dousing", 1.0)
        return {level - 1: p, level: 1 - p}
    if level == 0:
        p = parameter("ignition", 0.3) if beside else parameter("spontaneous", 0.05)
        return {0: 1 - p, 1: p}
    p = parameter("growth_beside", 0.7) if beside else parameter("growth", 0.4)
    return {level: 1 - p, level + 1: p} if level < top else {level: 1.0}


def test_the_law_in_plain_loops(case: dict[str, Any]) -> None:
    env = Firefighters(**case)
    s, a, _ = random_inputs(env, 60, 0)
    expected = torch.zeros(60, env.n, env.action_mask.shape[1], dtype=torch.float64)
    for b, h in itertools.product(range(60), range(env.n)):
        for level, p in law(case, s[b].tolist(), a[b].tolist(), h).items():
            expected[b, h, level] += p
    torch.testing.assert_close(env.transition(s, a), expected, rtol=0, atol=1e-15)
    assert env.reward(s, a).tolist() == [[-float(level) for level in row] for row in s.tolist()]


def test_sizes_and_neighbors(case: dict[str, Any]) -> None:
    """Neighbors are the houses beside one, and all whose state or action the law of a house asks for; no more."""
    env, houses = Firefighters(**case), houses_of(case)
    around = [[houses.index(house) for house in visited_by(case, place)] for place in houses]
    assert env.num_actions.tolist() == [max(1, len(own)) for own in around]
    assert env.visited.tolist() == [own or [env.n] * env.visited.shape[1] for own in around]
    assert [tuple(place) for place in env.positions.tolist()] == houses
    beside = {
        (i, j) for i, j in itertools.combinations(range(env.n), 2) if np.abs(np.subtract(houses[i], houses[j])).sum() == 1
    }
    visits = {(i, j) for i, own in enumerate(around) for j in own if i != j}
    assert {tuple(edge) for edge in env.network.edges.tolist()} == beside | visits
    assert env.num_states.tolist() == [top + 1 for top in env.levels.tolist()]
    assert env.reward_range == (-float(max(env.levels)), 0.0)


def test_contract(case: dict[str, Any]) -> None:
    check_environment(Firefighters(**case), samples=16, draws=2_000)


def test_compiled_step(case: dict[str, Any]) -> None:
    check_fused_step(Firefighters(**case), samples=200)


@pytest.mark.parametrize("name", ["own", "cell"])
def test_algorithm_1_compiled_is_that_of_autograd(name: str) -> None:
    env = Firefighters(**CASES[name])

    def trained(engine: str) -> ScalableActorCritic:
        sizes = {"critic_scheduler": PowerLaw(0.5, 0.55), "actor_scheduler": Constant(0.5)}
        trainer = ScalableActorCritic(env, TabularSoftmax(env), TabularCritic(env, kappa=1), engine=engine, **sizes)
        trainer.run(200)
        return trainer

    assert_equal(trained("fused"), trained("autograd"))


@pytest.fixture(scope="module")
def small() -> Firefighters:
    return Firefighters(agents=4, levels=2, spontaneous=0.05)


RULES: dict[str, tuple[Callable[[Firefighters], Any], float]] = {
    "uniform": (Uniform, -0.0563),
    "higher, left": (FightHigher, -0.0146),
    "higher, right": (lambda env: FightHigher(env, ties="right"), -0.0146),
    "higher, parity": (lambda env: FightHigher(env, ties="parity"), -0.0269),
    "lower, left": (FightLower, -0.0146),
    "alternately": (FightAlternately, -0.8),
}


def test_values_of_four_agents(small: Firefighters) -> None:
    """Exact averages per house; the optimum is that of all deterministic policies of the joint state."""
    found = {name: average_reward(small, make(small)) for name, (make, _) in RULES.items()}
    assert {name: round(value, 4) for name, value in found.items()} == {name: value for name, (_, value) in RULES.items()}
    best = optimal_reward(small, 1e-9)
    assert round(best, 4) == -0.0100
    assert max(found.values()) < best


@pytest.mark.parametrize(("make", "value"), [(Uniform, -0.0509), (FightHigher, -0.0122)])
def test_values_of_five_agents(make: Callable[[Firefighters], Any], value: float) -> None:
    env = Firefighters(agents=5)
    assert round(average_reward(env, make(env)), 4) == value


def test_values_of_a_cell() -> None:
    """One agent among four houses: to fight the highest fire is worse than to toss a coin."""
    env = Firefighters(rows=1, cols=1)
    found = [average_reward(env, make(env)) for make in (FightHigher, Uniform, FightLower)]
    assert [round(value, 4) for value in found] == [-1.7856, -1.5416, -0.4787]
    assert round(optimal_reward(env, 1e-9), 4) == -0.3771


def test_limiting_cases_in_a_row() -> None:
    """No fire comes from nothing; a sure one takes the houses beside it, and stops where somebody stands."""
    env = Firefighters(
        agents=4, spontaneous=0.0, ignition=1.0, growth=0.0, growth_beside=0.0, dousing=1.0, dousing_beside=0.0
    )
    u = torch.rand(1, 5, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for actions, levels, following in (
        ([0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]),
        ([0, 1, 0, 1, 0], [0, 0, 2, 0, 0], [0, 1, 0, 1, 0]),  # two at house 2, nobody at 1 and 3
        ([0, 1, 1, 1, 0], [0, 1, 0, 0, 0], [0, 1, 0, 0, 0]),  # nobody at house 1, and growth is 0
        ([0, 1, 1, 1, 0], [0, 0, 0, 0, 2], [0, 0, 0, 0, 1]),
        ([1, 0, 1, 1, 0], [2, 2, 2, 2, 2], [2, 0, 2, 2, 2]),  # two at house 1, one at 3 and 4, which do nothing beside fire
    ):
        assert env.step(torch.tensor([levels]), torch.tensor([actions]), u)[0].tolist() == [following]


def test_start_is_uniform_over_levels() -> None:
    env = Firefighters(agents=1, levels=[2, 3])
    u = (torch.arange(12, dtype=torch.float64) / 12).reshape(12, 1, 1).expand(12, 2, 1)
    assert env.reset(u).T.tolist() == [[0] * 4 + [1] * 4 + [2] * 4, [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3]


def test_a_hundred_thousand_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # 700,000 numbers are looked at one by one
    env = Firefighters(rows=250, cols=400)
    u = torch.rand(1, env.n, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    s, a = env.reset(u), torch.zeros(1, env.n, dtype=torch.int64)
    assert env.step(s, a, u)[0].shape == FightHigher(env).sample(s, u[..., 0]).shape == (1, env.n)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"agents": 0}, "env.agents must be a whole number of at least 1, got 0"),
        ({"agents": 2.5}, "env.agents must be a whole number of at least 1, got 2.5"),
        ({"agents": 10**9}, "env.agents=1000000000 makes 1000000001 houses, too many to list; choose fewer agents"),
        ({"agents": 4, "rows": 2, "cols": 2}, "env.agents=4 makes a row, env.rows=2 and env.cols=2 a grid; give either"),
        ({"agents": 4, "cols": 2}, "env.agents=4 makes a row, env.rows=None and env.cols=2 a grid; give either"),
        ({"rows": 2}, "a grid needs both env.rows and env.cols, got env.rows=2 and env.cols=None"),
        ({"rows": 2, "cols": 0}, "env.cols must be a whole number of at least 1, got 0"),
        ({"rows": "two", "cols": 2}, "env.rows must be a whole number of at least 1, got 'two'"),
        ({"rows": 10**5, "cols": 10**5}, "env.rows=100000, env.cols=100000 makes 10000200001 houses, too many to list"),
        ({"levels": 0}, r"env.levels\[0\] must be a whole number of at least 1, got 0"),
        ({"levels": [2, 2]}, "env.levels needs 5 values, one for each house, got 2"),
        ({"levels": 10**9}, "env.levels=1000000000 are too many to list for 5 houses; choose fewer"),
        ({"spontaneous": 1.5}, r"env.spontaneous\[0\] must be a finite number in \[0, 1\], got 1.5"),
        ({"ignition": -0.1}, r"env.ignition\[0\] must be a finite number in \[0, 1\], got -0.1"),
        ({"growth": "fast"}, r"env.growth\[0\] must be a finite number in \[0, 1\], got 'fast'"),
        ({"growth_beside": [0.1] * 4}, "env.growth_beside needs 5 values, one for each house, got 4"),
        ({"dousing": float("nan")}, r"env.dousing\[0\] must be a finite number in \[0, 1\], got nan"),
        (
            {"dousing_beside": [0.1, 0.2, 0.3, 0.4, 5]},
            r"env.dousing_beside\[4\] must be a finite number in \[0, 1\], got 5",
        ),
    ],
)
def test_refusals(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], words: str) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=words):
        Firefighters(**arguments)
