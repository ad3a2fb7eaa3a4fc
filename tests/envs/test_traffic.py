"""Traffic signals: the law against plain loops, vehicles counted, and a compiled step that learns the same."""

import math
from typing import Any

import jaxtyping
import pytest
import torch

from marl.core.errors import ConfigError
from marl.envs import TrafficSignals
from marl.testing import check_environment, check_fused_step, random_inputs
from tests.envs.traffic_oracle import Grid
from tests.trainers.test_fused import assert_equal, trainer

LEFT = [0.0, 0.25, 1.0, 0.5, 0.1, 0.9, 0.3, 0.6, 0.7]


def arrivals(rows: int, cols: int) -> list[float]:
    """One for each cell at the side, from 0 to 1."""
    count = 2 * (rows + cols)
    return [k / (count - 1) for k in range(count)]


def both(rows: int, cols: int, capacity: int = 1, elapsed: int = 1) -> tuple[TrafficSignals, Grid]:
    """The library's and the loops'."""
    given = arrivals(rows, cols), LEFT[: rows * cols]
    return TrafficSignals(rows, cols, capacity, *given, elapsed), Grid(rows, cols, capacity, *given, elapsed)


GRIDS = {
    "alone": (1, 1, 1),
    "street": (1, 4, 1),
    "street down": (3, 1, 1, 3),
    "square": (2, 2, 1, 2),
    "block": (2, 3, 2),
    "inside": (3, 3, 3),
}
SMALL = ["alone", "street", "street down", "square"]


@pytest.mark.parametrize("name", SMALL)
def test_contract(name: str) -> None:
    env = both(*GRIDS[name])[0]
    assert (env.private_actions, env.private_rewards) == ((True, True) if name == "alone" else (False, False))
    assert env.num_uniforms == {"alone": 5, "street": 4, "street down": 4, "square": 3}[name]
    check_environment(env, samples=16, draws=2_000)


@pytest.mark.parametrize("name", GRIDS)
def test_the_compiled_step(name: str) -> None:
    check_fused_step(both(*GRIDS[name])[0], samples=200)


@pytest.mark.parametrize("name", GRIDS)
def test_the_law_in_plain_loops(name: str) -> None:
    env, grid = both(*GRIDS[name])
    s, a, u = random_inputs(env, 40, 0)
    law, reward = env.transition(s, a), env.reward(s, a)
    for b in range(40):
        drawn_from, rewards = grid.sure(s[b].tolist(), a[b].tolist())
        assert reward[b].tolist() == pytest.approx(rewards, abs=1e-12)
        for i in range(env.n):
            assert law[b, i].tolist() == pytest.approx(grid.law(*drawn_from[i]), abs=1e-12)
    assert torch.equal(env.step(s, a, u)[1], reward)


@pytest.mark.parametrize("name", GRIDS)
def test_states_are_numbered_as_written(name: str) -> None:
    env, grid = both(*GRIDS[name])
    vehicles, axis, left, elapsed = env.read(torch.arange(grid.states))
    for s in range(0, grid.states, 7):
        assert ([*vehicles[s].tolist()], int(axis[s]), int(left[s]), int(elapsed[s])) == grid.unpack(s)


@pytest.mark.parametrize("name", GRIDS)
def test_vehicles_are_lost_and_made_at_the_sides_only(name: str) -> None:
    """In every sample: vehicles then = vehicles before + those that came in - those that left the grid."""
    env, grid = both(*GRIDS[name])
    draw = torch.Generator().manual_seed(1)
    s, passed = torch.zeros(1, env.n, dtype=torch.int64), [0, 0]
    for _ in range(150):
        a = (torch.rand(1, env.n, generator=draw) < 0.3).long()
        u = torch.rand(1, env.n, env.num_uniforms, generator=draw, dtype=torch.float64)
        following = env.step(s, a, u)[0]
        before, after = env.read(s).vehicles[0], env.read(following).vehicles[0]
        leaving = list(grid.moves(s[0].tolist(), a[0].tolist()).values()).count(None)
        entering, column = 0, dict.fromkeys(range(env.n), 0)
        for (i, d), p in grid.arrival.items():
            column[i] += 1
            entering += int(u[0, i, column[i]] < p and before[i, d] < env.capacity)
        assert int(after.sum()) == int(before.sum()) + entering - leaving
        s, passed = following, [passed[0] + entering, passed[1] + leaving]
    assert min(passed) > 50


def test_a_hand_made_step() -> None:
    """Two in a row: a vehicle from the west waits for room in the next cell, while one turns left there, to the north."""
    env = TrafficSignals(1, 2, arrival=0.0, left=0.0)
    full, west = 2 * 27, 27  # two vehicles, or one, that come from the west
    state = torch.tensor([[2 * 81 + full, 3 * 81 + full]])  # both serve east and west; left turns at the second
    hold = torch.zeros(1, 2, dtype=torch.int64)
    u = torch.zeros(1, 2, env.num_uniforms, dtype=torch.float64)
    for action, following, reward in (
        (hold, [2 * 81 + full, 2 * 81 + west], [-2 / 4, -1 / 4]),
        (hold, [2 * 81 + west, 2 * 81 + west], [-1 / 4, 0.0]),  # one left, one came
        (hold + 1, [west, west], [-1 / 4, -1 / 4]),  # all red
    ):
        state, r = env.step(state, action, u)
        assert (state.tolist(), r.tolist()) == ([following], [reward])


def test_a_signal_that_never_advances() -> None:
    """Cells with green have one vehicle with probability p / (1 + p), which leaves and refuses one; the others are full."""
    p, env = 0.3, TrafficSignals(1, 1, capacity=1, arrival=0.3)
    s = torch.arange(int(env.num_states[0]))[:, None]
    matrix, law = env.transition(s, torch.zeros_like(s))[:, 0], torch.zeros(len(s), dtype=torch.float64)
    law[0] = 1.0
    for _ in range(500):
        law = law @ matrix
    reward = float(law @ env.reward(s, torch.zeros_like(s))[:, 0])
    assert reward == pytest.approx(-(2 * p * p / (1 + p) + 2 * (1 + p)) / 4, abs=1e-12)


def test_reset_puts_one_vehicle_where_one_arrives() -> None:
    env, _ = both(2, 2, 2, 2)
    u = torch.rand(200, 4, env.num_uniforms, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    vehicles, axis, left, elapsed = env.read(env.reset(u))
    for nothing in axis, elapsed, vehicles[:, env.arrival == 0.0]:
        assert not nothing.any()
    assert (vehicles[:, env.arrival == 1.0] == 1).all()
    assert vehicles.max() == 1
    assert torch.equal(left, (u[..., 0] < env.left).long())


def test_algorithm_1_is_the_same_compiled() -> None:
    env = both(1, 2)[0]
    fused, autograd = (trainer(env, engine, 1, storage="hash") for engine in ("fused", "autograd"))
    for run in (fused, autograd):
        run.run(200)
    assert_equal(fused, autograd)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"rows": 0}, "env.rows must be a whole number of at least 1, got 0"),
        ({"cols": 2.5}, "env.cols must be a whole number of at least 1, got 2.5"),
        ({"capacity": 0}, "env.capacity must be a whole number of at least 1, got 0"),
        ({"capacity": "two"}, "env.capacity must be a whole number of at least 1, got 'two'"),
        ({"elapsed": 0}, "env.elapsed must be a whole number of at least 1, got 0"),
        ({"arrival": -0.1}, r"env.arrival\[0\] must be a finite number in \[0, 1\], got -0.1"),
        ({"arrival": math.nan}, r"env.arrival\[0\] must be a finite number in \[0, 1\], got nan"),
        ({"arrival": [0.1] * 11}, "env.arrival needs 12 values, one for each cell at the side of the grid, got 11"),
        ({"arrival": None}, "env.arrival must be a number or a list of 12, got None"),
        ({"left": 1.5}, r"env.left\[0\] must be a finite number in \[0, 1\], got 1.5"),
        ({"left": [0.1] * 4}, "env.left needs 9 values, one for each intersection, got 4"),
        ({"capacity": 40}, "env.capacity=40 and env.elapsed=1 give 9 intersections 1.13e.07 states each: too many to list"),
        ({"elapsed": 10**6}, "env.capacity=2 and env.elapsed=1e.06 give 9 intersections 3.24e.08 states each"),
        ({"rows": 10**9, "cols": 10**9}, "give 1e.18 intersections 324 states each: too many"),
    ],
)
def test_refusals(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], words: str) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=words):
        TrafficSignals(**arguments)
