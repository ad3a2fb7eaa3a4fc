"""No optimum is above a bound: those that systems have from their own models, and the one by linear programming."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import optimize

from marl import (
    Bounded,
    Coloring,
    Epidemic,
    Firefighters,
    LoadBalancing,
    Network,
    Scheduling,
    SysAdmin,
    TrafficSignals,
    WirelessAccess,
    random_local_mdp,
)
from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.envs.alone import Alone, relaxed
from marl.exact import marginal_bound
from tests.envs.joint import optimal_reward

GRAPHS = Network.line(3), Network.ring(3), Network.from_edges(3, [(0, 2)])
Draw = np.random.Generator


def epidemic(draw: Draw, graph: Network) -> NetworkedMDP:
    names = ["infection", "recovery", "import_rate", "leak", "cost"] + ["waning"] * draw.integers(2)
    return Epidemic(graph, mutual=bool(draw.integers(2)), **{name: draw.random(graph.n).tolist() for name in names})


def firefighters(draw: Draw, graph: Network) -> NetworkedMDP:
    names = "spontaneous", "ignition", "growth", "growth_beside", "dousing", "dousing_beside"
    grid, row = {"rows": 1, "cols": 1, "levels": 1}, {"agents": 2, "levels": draw.integers(1, 3, 3).tolist()}
    given = grid if draw.integers(2) else row
    return Firefighters(**given, **{name: float(draw.random()) for name in names})


def load_balancing(draw: Draw, graph: Network) -> NetworkedMDP:
    rates = draw.random((2, graph.n)).tolist()
    return LoadBalancing(graph, draw.integers(1, 3, graph.n).tolist(), *rates, holding=float(draw.integers(2)) / 9)


def scheduling(draw: Draw, graph: Network) -> NetworkedMDP:
    return Scheduling(graph, draw.integers(1, 4, graph.n).tolist(), *draw.random((2, graph.n)).tolist())


def wireless(draw: Draw, graph: Network) -> NetworkedMDP:
    access = [[0], [0, 1], [1]] if draw.integers(2) else [[0, 1], [0], [0]]
    given = {"arrival": draw.random(3).tolist(), "success": draw.random(2).tolist()}
    return WirelessAccess(incidence=access, deadline=draw.integers(1, 3, 3).tolist(), **given)


def sysadmin(draw: Draw, graph: Network) -> NetworkedMDP:
    names = "p_fail", "p_dead", "faulty_neighbor", "dead_neighbor", "p_load", "p_done_good", "p_done_faulty"
    return SysAdmin(
        "line:2", crews=["edges", "own", 1][draw.integers(3)], **{name: draw.random(2).tolist() for name in names}
    )


def traffic(draw: Draw, graph: Network) -> NetworkedMDP:
    return TrafficSignals(1, 1, capacity=1, arrival=draw.random(4).tolist(), left=float(draw.random()))


def tables(draw: Draw, graph: Network) -> NetworkedMDP:
    seen = {name: bool(draw.integers(2)) for name in ("private_actions", "private_rewards")}
    return random_local_mdp(graph, draw.integers(2, 4, 3).tolist(), 2, **seen, instance_seed=int(draw.integers(10**6)))


SYSTEMS = epidemic, firefighters, load_balancing, scheduling, wireless, sysadmin, traffic, tables


def check(system: Callable[[Draw, Network], NetworkedMDP], seed: int) -> None:
    env = system(np.random.default_rng(seed), GRAPHS[seed % 3])
    best = optimal_reward(env, 1e-8) - 1e-7
    assert best <= marginal_bound(env, 1).value
    assert best <= marginal_bound(env, 2).value
    if system is not tables:
        assert isinstance(env, Bounded)
        assert best <= env.reward_bound() <= env.reward_range[1] + 1e-9


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("system", SYSTEMS)
def test_no_optimum_is_above_a_bound(system: Callable[[Draw, Network], NetworkedMDP], seed: int) -> None:
    check(system, seed)


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_no_optimum_of_more_instances_is(system: Callable[[Draw, Network], NetworkedMDP]) -> None:
    """With those above, 240 random instances of three agents or less."""
    for seed in range(2, 30):
        check(system, seed)


@pytest.mark.parametrize(
    "env",
    [
        Epidemic("line:1", import_rate=0.2, recovery=0.5),
        Epidemic("line:1", import_rate=0.2, recovery=0.5, waning=0.3),
        Epidemic("ring:3", infection=0.5, leak=0.0, cost=0.0),
        LoadBalancing("line:1", arrival=0.7),
        Scheduling("line:1", arrival=0.7, success=0.6),
        Scheduling("line:2", buffer=1, arrival=1.0, success=1.0),
        SysAdmin("line:1", p_fail=0.2, p_done_faulty=0.95),
        TrafficSignals(1, 1, capacity=1, arrival=[0.1, 0.5, 0.2, 0.7]),
        WirelessAccess(incidence=[[0]], deadline=1, arrival=0.8, success=1.0),
    ],
    ids=lambda env: f"{type(env).__name__}-{env.n}",
)
def test_bounds_that_are_attained(env: NetworkedMDP) -> None:
    assert isinstance(env, Bounded)
    assert env.reward_bound() == pytest.approx(optimal_reward(env, 1e-9), abs=1e-6)


def test_figures_of_the_pages() -> None:
    assert Firefighters().reward_bound() == pytest.approx(-0.0100, abs=1e-7)
    assert WirelessAccess(rows=2, cols=3).reward_bound() == pytest.approx(0.2227, abs=5e-5)


@pytest.mark.parametrize("seed", range(3))
def test_prices_find_the_best_division(seed: int) -> None:
    """Against the linear program over what share of time every agent is where and makes which move."""
    draw = np.random.default_rng(seed)
    agents = [Alone(draw.dirichlet(np.ones(k), (2, k)), draw.random((2, k)), np.array([0.0, 1.0])) for k in (2, 3, 4)]
    gain, used = (
        np.concatenate([x.reward.ravel() for x in agents]),
        np.concatenate([x.used.repeat(x.law.shape[1]) for x in agents]),
    )
    rows, start = [], 0
    for x in agents:
        count = x.law.shape[1]
        for block in [(x.law - np.eye(count)).reshape(-1, count).T, np.ones((1, 2 * count))]:
            wide = np.zeros((len(block), len(gain)))
            wide[:, start : start + 2 * count] = block
            rows.append(wide)
        start += 2 * count
    right = np.concatenate([np.append(np.zeros(x.law.shape[1]), 1.0) for x in agents])
    for budget in 0.3, 1.0, 3.0:
        best = -optimize.linprog(-gain, A_ub=used[None], b_ub=[budget], A_eq=np.vstack(rows), b_eq=right).fun
        assert -1e-8 <= relaxed(agents, budget) - best < 1e-5


def test_what_is_bounded_and_what_is_not() -> None:
    assert not isinstance(Coloring(), Bounded)
    assert Epidemic(import_rate=0.0).reward_bound() == 0.0
    assert Epidemic(recovery=0.0).reward_bound() == -1.0
    with pytest.raises(ConfigError, match=r"capacity=6 gives the cells at the side of an intersection 4802 states"):
        TrafficSignals(1, 1, capacity=6).reward_bound()
    with pytest.raises(ConfigError, match="independent sets of 31 links are too many"):
        Scheduling("ring:31").reward_bound()
    with pytest.raises(ConfigError, match="room for 6000 jobs"):
        LoadBalancing("ring:2000").reward_bound()
