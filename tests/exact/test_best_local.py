"""Best local rules against every rule evaluated by listing joint states, ascents against them, and tables as a policy."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs import Epidemic, LoadBalancing, LocalMDP, Scheduling, SysAdmin, WirelessAccess, random_local_mdp
from marl.exact import AverageValues, Chain, LocalTables, ascend, best_local, marginal_bound, optimum
from marl.exact.ties import Ties
from marl.policies import RandomTable
from marl.testing import check_policy
from tests.envs.joint import average_reward

TABLES: dict[str, Any] = {"distribution": "dirichlet", "reward_low": -1.0}


def epidemic(n: int = 6, network: Network | None = None) -> Epidemic:
    return Epidemic(network or Network.ring(n), infection=0.6, recovery=0.3, import_rate=0.01, leak=0.0, cost=0.2)


def every_rule(env: NetworkedMDP, kappa: int) -> list[float]:
    """The value of each deterministic rule of s_{N_i^kappa}, each agent with its own, by loops; all actions are legal."""
    index, mask, _ = env.network.neighborhood(kappa)
    shapes = [[int(env.num_states[j]) for j in row[inside].tolist()] for row, inside in zip(index, mask, strict=True)]
    actions = env.num_actions.tolist()
    places = [(i, seen) for i, shape in enumerate(shapes) for seen in np.ndindex(*shape)]
    values = []
    for chosen in itertools.product(*(range(actions[i]) for i, _ in places)):
        tables = [np.zeros((*shape, max(actions))) for shape in shapes]
        for (i, seen), action in zip(places, chosen, strict=True):
            tables[i][(*seen, action)] = 1.0
        values.append(average_reward(env, LocalTables(env, kappa, tables)))
    return values


@pytest.mark.parametrize(
    ("kappa", "sizes"), [(0, {"num_states": [2, 3, 2]}), (1, {"num_states": [2, 1, 2], "num_actions": [2, 2, 1]})]
)
def test_all_rules_are_tried(kappa: int, sizes: dict[str, Any]) -> None:
    env = random_local_mdp("line:3", **{"num_actions": 2, **sizes}, private_rewards=False, instance_seed=3, **TABLES)
    found = best_local(env, kappa)
    assert found.exhaustive
    np.testing.assert_allclose(sorted(found.ends), sorted(every_rule(env, kappa)), rtol=0.0, atol=1e-9)
    assert found.value == max(found.ends)
    assert average_reward(env, found.policy) == pytest.approx(found.value, abs=1e-9)


def test_known_rules_of_the_epidemic() -> None:
    """The best rule of one's own state, one for all, is -.226; of the neighbors' states it is the optimum, -.0445."""
    env = epidemic()
    own, near = (best_local(env, kappa, symmetric=True) for kappa in (0, 1))
    assert (own.exhaustive, len(own.ends)) == (True, 4)
    assert own.value == pytest.approx(-0.226, abs=5e-4)
    assert (near.exhaustive, len(near.ends)) == (True, 64)
    assert near.value == pytest.approx(optimum(env).low, abs=1e-8)
    s = torch.tensor([[0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 1, 1, 0, 0, 0]])
    shields = near.policy.probs(s[:, None])[:, 0, :, 1]
    assert shields.tolist() == [[0, 0, 0, 0, 0, 0], [0, 1, 0, 0, 0, 1], [0, 0, 0, 1, 0, 1]]  # susceptible beside infected


def test_ascent_of_the_epidemic_from_ten_starts() -> None:
    """Ten starts of rules of one hop end at the optimum; of the own state at several local maxima, none below -.218."""
    env = epidemic()
    near = ascend(env, 1, starts=10)
    np.testing.assert_allclose(near.ends, optimum(env).low, rtol=0.0, atol=1e-7)
    own = ascend(env, 0, starts=3)
    assert own.ends[0] == pytest.approx(-0.2175, abs=5e-4)  # from the uniform policy the agents stay alike
    assert own.value > -0.17
    assert not own.exhaustive


@pytest.mark.parametrize("kappa", [0, 1])
@pytest.mark.parametrize("shared", [False, True])
def test_ascent_is_no_worse_than_any_rule(kappa: int, shared: bool) -> None:
    env = random_local_mdp(
        "line:3", num_states=[2, 1, 2], num_actions=2, private_actions=not shared, instance_seed=5, **TABLES
    )
    found, best = ascend(env, kappa, starts=5), max(every_rule(env, kappa))
    assert found.value >= best - 1e-7
    assert average_reward(env, found.policy) == pytest.approx(found.value, abs=1e-9)


def test_one_rule_for_all_counts_neighbors_in_each_state() -> None:
    """On a star the leaves see one neighbor, and the hub three: rows of (own, counts) are shared where counts agree."""
    ties = Ties(epidemic(network=Network.from_edges(4, [(0, 1), (0, 2), (0, 3)])), 1, symmetric=True)
    assert len(ties.legal) == 2 * 4 + 2 * 2
    hub = ties.keys[0].reshape(2, 2, 2, 2)
    assert hub[0, 1, 0, 0] == hub[0, 0, 1, 0] == hub[0, 0, 0, 1] != hub[0, 1, 1, 0]
    assert ties.keys[1].tolist() == ties.keys[2].tolist()
    apart = Ties(epidemic(network=Network.line(5)), 2, symmetric=True)
    middle, end = apart.keys[2].reshape(2, 2, 2, 2, 2), apart.keys[0].reshape(2, 2, 2)
    assert middle[1, 0, 0, 0, 0] == middle[0, 0, 0, 0, 1] != middle[0, 1, 0, 0, 0]  # two hops away, one hop away
    assert set(end.ravel().tolist()).isdisjoint(middle.ravel().tolist())


def test_tables_are_a_policy() -> None:
    """In the order of the agents' numbers, whatever the order of the keys inside."""
    env = random_local_mdp("line:3", num_states=[2, 3, 2], num_actions=[2, 3, 2], **TABLES)
    draw = np.random.default_rng(0)
    shapes = [(2, 3), (2, 3, 2), (3, 2)]
    tables = []
    for i, shape in enumerate(shapes):
        rows = draw.random((*shape, 3)) * (np.arange(3) < int(env.num_actions[i]))
        tables.append(rows / rows.sum(axis=-1, keepdims=True))
    policy = LocalTables(env, 1, tables)
    for s in itertools.product(range(2), range(3), range(2)):
        probs = policy.probs(torch.tensor([s]))[0].numpy()
        np.testing.assert_allclose(probs[0], tables[0][s[0], s[1]], atol=1e-12)
        np.testing.assert_allclose(probs[1], tables[1][s], atol=1e-12)
        np.testing.assert_allclose(probs[2], tables[2][s[1], s[2]], atol=1e-12)
    check_policy(lambda env, **run: LocalTables(env, 1, tables, **run), env)


SYSTEMS = {
    "epidemic": lambda draw: Epidemic(Network.line(3), infection=draw(), recovery=draw(), import_rate=draw(), cost=draw()),
    "load balancing": lambda draw: LoadBalancing(Network.line(3), buffer=1, arrival=draw(), service=draw()),
    "scheduling": lambda draw: Scheduling(Network.line(3), buffer=1, arrival=draw(), success=draw()),
    "wireless": lambda draw: WirelessAccess(rows=2, cols=2, deadline=1, arrival=draw(), success=draw()),
    "sysadmin": lambda draw: SysAdmin(Network.line(2), p_fail=draw() / 2, p_dead=draw() / 2, p_load=draw()),
    "tables": lambda draw: random_local_mdp("ring:3", num_actions=2, instance_seed=int(1e6 * draw()), **TABLES),
    "shared tables": lambda draw: random_local_mdp(
        "line:3", num_actions=2, private_actions=False, private_rewards=False, instance_seed=int(1e6 * draw()), **TABLES
    ),
}


@pytest.mark.parametrize("seeds", [range(1), pytest.param(range(1, 29), marks=pytest.mark.slow)], ids=["7", "196 more"])
@pytest.mark.parametrize("name", SYSTEMS)
def test_optimum_is_above_what_is_local_and_below_every_bound(name: str, seeds: range) -> None:
    """203 random instances, exact: a policy <= optimum <= linear program, in 35 the best local ones as well."""
    for seed in seeds:
        draw = np.random.default_rng(seed)
        env = SYSTEMS[name](lambda draw=draw: float(draw.uniform(0.05, 0.95)))
        best = optimum(env)
        assert best.high - best.low <= 1e-7
        for kappa in (0, 1) if seed < 5 else ():
            assert ascend(env, kappa, starts=1).value <= best.high
        assert float(AverageValues(Chain(env, RandomTable(env, instance_seed=seed))).J.mean()) <= best.high
        assert best.low <= marginal_bound(env, 1).value
        if hasattr(env, "reward_bound"):
            assert best.low <= env.reward_bound() + 1e-12


def test_refusals_are_sentences() -> None:
    uneven = random_local_mdp("line:3", num_states=[2, 3, 2], **TABLES)
    with pytest.raises(
        ConfigError, match=r"agents 0 and 1 have other states or legal actions, so that they cannot follow one"
    ):
        best_local(uneven, 1, symmetric=True)
    wide = LoadBalancing(Network.ring(12), buffer=9, arrival=0.5, service=0.5)
    with pytest.raises(
        ConfigError, match=r"agents that see 3 hops have tables of 1\.2e\+08 rows .* choose a smaller kappa"
    ):
        ascend(wide, 3)
    with pytest.raises(ConfigError, match="joint states"):
        ascend(wide, 1)
    with pytest.raises(ConfigError, match=r"joint states need .* GiB"):
        best_local(random_local_mdp("line:14", num_actions=[2, *[1] * 13], **TABLES), 0, memory=1e-4)
    for wrong in ({"kappa": -1}, {"starts": 0}, {"seed": -1}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            ascend(epidemic(3), **wrong)


def test_rules_that_absorb_are_left_out() -> None:
    """An agent that may stay for ever in either state: of its four rules the one that stays in both has no average."""
    move = np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])  # [s, a, s']: 0 stays, 1 moves
    env = LocalMDP(Network.line(1), [move], [np.array([[0.0, 0.0], [1.0, 1.0]])])
    found = best_local(env, 0)
    assert found.exhaustive
    assert sorted(found.ends) == pytest.approx([0.0, 0.5, 1.0])
