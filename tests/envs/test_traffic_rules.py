"""The rules of traffic signals against plain loops, and the values of the page, exact on small grids."""

import itertools
from typing import Any

import jaxtyping
import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.policy import Policy
from marl.envs import TrafficSignals
from marl.envs.traffic import FixedTime, LongestQueue, MaxPressure
from marl.policies import Uniform
from marl.trainers.evaluation import evaluate
from tests.contracts.test_environment_contract import Rumor
from tests.envs.joint import average_reward
from tests.envs.traffic_oracle import Grid, TwoIntersections

P, LEFT = 0.2, 0.25


@pytest.fixture(scope="module")
def two() -> TwoIntersections:
    return TwoIntersections(Grid(1, 2, 1, [P] * 6, [LEFT] * 2))


def every_pair(count: int) -> torch.Tensor:
    return torch.cartesian_prod(torch.arange(count), torch.arange(count))


def test_all_of_the_law_of_two_intersections(two: TwoIntersections) -> None:
    """... so that what the loops solve for is this system."""
    env = TrafficSignals(1, 2, capacity=1, arrival=P, left=LEFT)
    s = every_pair(64)
    for k, a in enumerate(itertools.product((0, 1), repeat=2)):
        actions = torch.tensor(a).expand(len(s), 2)
        law = env.transition(s, actions)
        for i in (0, 1):
            wanted = torch.from_numpy(two.laws[i])[torch.from_numpy(two.after[i, k].flatten())]
            torch.testing.assert_close(law[:, i], wanted, rtol=0, atol=1e-12)
        reward = torch.from_numpy(two.reward[k].flatten())
        torch.testing.assert_close(env.reward(s, actions).mean(dim=1), reward, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("kind", "name"), [(LongestQueue, "longest_queue"), (MaxPressure, "max_pressure")])
def test_a_rule_in_plain_loops(two: TwoIntersections, kind: type, name: str) -> None:
    s = every_pair(64)
    chosen = kind(TrafficSignals(1, 2, capacity=1, arrival=P, left=LEFT), replicas=len(s)).probs(s)[..., 1]
    rule = getattr(two, name)
    assert chosen.tolist() == [[rule(0, x, y), rule(1, y, x)] for x, y in s.tolist()]


def test_values_of_two_intersections(two: TwoIntersections) -> None:
    """The table of the page, one vehicle a cell."""
    found = {
        "uniform": two.of(lambda i, own, other: 0.5),
        "longest queue": two.of(two.longest_queue),
        "max-pressure": two.of(two.max_pressure),
        "optimum": two.optimum(),
        **{f"fixed time {hold}": two.fixed_time(hold) for hold in (2, 3, 4)},
    }
    assert {name: round(value, 4) for name, value in found.items()} == {
        "uniform": -0.4781,
        "longest queue": -0.1927,
        "max-pressure": -0.1977,
        "optimum": -0.1679,
        "fixed time 2": -0.3057,
        "fixed time 3": -0.3030,
        "fixed time 4": -0.3092,
    }


def test_values_of_one_intersection() -> None:
    """Of fixed time by hand: a cell has green in one slot of four, before which it is full with probability x."""
    env = TrafficSignals(1, 1, capacity=1, arrival=P, left=0.0, elapsed=2)
    x = 1 - (1 - P) ** 3 / (1 + P * (1 - P) ** 3)
    full = [(1 - x) * P]  # after that slot, and after the next ones
    for _ in range(2):
        full.append(full[-1] + (1 - full[-1]) * P)
    assert average_reward(env, FixedTime(env, hold=2)) == pytest.approx(-(P * x + (1 + P) * sum(full)) / 4, abs=1e-9)
    assert average_reward(env, FixedTime(env, hold=2)) == pytest.approx(-0.262772, abs=5e-7)
    env = TrafficSignals(1, 1, capacity=1, arrival=P, left=0.0)
    assert average_reward(env, Uniform(env)) == pytest.approx(-0.5, abs=1e-9)
    assert average_reward(env, LongestQueue(env)) == pytest.approx(-0.201618, abs=5e-7)


def test_fixed_time_changes_every_hold_steps() -> None:
    env = TrafficSignals(2, 2, capacity=1, elapsed=5)
    rule = FixedTime(env, hold=[2, 3, 5], replicas=3)
    u = torch.rand(30, 3, 4, env.num_uniforms, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    s, axes = env.reset(u[0]), []
    for t in range(30):
        axes.append(env.read(s).axis)
        s = env.step(s, rule.sample(s, u[t, ..., 0]), u[t])[0]
    for b, hold in enumerate((2, 3, 5)):
        assert [axis[b].tolist() for axis in axes] == [[t // hold % 2] * 4 for t in range(30)]


def test_longest_queue_by_hand() -> None:
    """Cells north, east, south, west; ties hold."""
    env = TrafficSignals(1, 1)
    cases = [((2, 1, 0, 0), 0, 0), ((1, 1, 0, 0), 0, 0), ((1, 2, 0, 0), 0, 1), ((0, 1, 1, 0), 1, 0), ((1, 2, 2, 0), 1, 1)]
    grid = Grid(1, 1, 2, [0.2] * 4, [0.25])
    for (cells, axis, advance), left in itertools.product(cases, (0, 1)):
        s = torch.tensor([[grid.pack(cells, axis, left)]])
        assert int(LongestQueue(env).probs(s)[0, 0].argmax()) == advance


def test_max_pressure_by_hand() -> None:
    """One vehicle from the south and one from the west at the first of two; the second's west cell has two vehicles."""
    grid = Grid(1, 2, 2, [0.2] * 6, [0.25] * 2)
    first, second = grid.pack((0, 0, 1, 1), 1, 0), grid.pack((0, 0, 0, 2), 0, 0)
    for left, south, west in ((0.0, 1.0, -1.0), (0.25, 1.0, -0.5), (1.0, 1.0, 1.0)):
        rule = MaxPressure(TrafficSignals(1, 2, left=left))
        assert int(rule.probs(torch.tensor([[first, second]]))[0, 0].argmax()) == int(south > west)
    alone = MaxPressure(TrafficSignals(1, 2, left=[0.25, 0.0])).probs(torch.tensor([[second, first]]))
    assert alone[0].argmax(dim=1).tolist() == [1, 0]


def test_without_neighbors_max_pressure_is_longest_queue() -> None:
    env = TrafficSignals(1, 1, elapsed=2)
    s = torch.arange(int(env.num_states[0]))[:, None]
    assert torch.equal(*(kind(env, replicas=len(s)).probs(s) for kind in (MaxPressure, LongestQueue)))


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [(Uniform, {}, -0.83), (FixedTime, {"hold": 5}, -0.31), (LongestQueue, {}, -0.30), (MaxPressure, {}, -0.37)],
)
def test_values_of_three_by_three(kind: type[Policy], given: dict[str, Any], value: float) -> None:
    """Those of the page; the mean here has a standard error below 0.013: a right one is refused with probability 1e-5."""
    env = TrafficSignals(elapsed=5 if kind is FixedTime else 1)
    found = evaluate(env, kind(env, replicas=8, **given), steps=400).average_reward
    assert float(found.mean()) == pytest.approx(value, abs=0.06)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"hold": 4},
            "policy.hold=4 is more steps than a state counts, env.elapsed=3; choose env.elapsed=4 or a shorter hold",
        ),
        ({"hold": 1}, r"policy.hold\[0\] must be a whole number of at least 2, got 1"),
        ({"hold": 2.5}, r"policy.hold\[0\] must be a whole number of at least 2, got 2.5"),
        ({"hold": [2, 3, 2]}, "policy.hold needs 2 values, one for each replica, got 3"),
    ],
)
def test_fixed_time_refuses(monkeypatch: pytest.MonkeyPatch, given: dict[str, Any], words: str) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=words):
        FixedTime(TrafficSignals(elapsed=3), replicas=2, **given)


@pytest.mark.parametrize("kind", [FixedTime, LongestQueue, MaxPressure])
def test_a_rule_needs_traffic_signals(kind: type) -> None:
    with pytest.raises(ConfigError, match=f"{kind.__name__} is a rule for TrafficSignals, not for Rumor"):
        kind(Rumor())
