"""The bound by linear programming: its program holds every stationary law, and its optimum bounds that of all policies."""

import itertools
import sys
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy import sparse

from marl import Epidemic, LoadBalancing, LocalMDP, Network, RandomTable, Scheduling, WirelessAccess, random_local_mdp
from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError, MarlError
from marl.exact import LocalLaws, clusters, marginal_bound
from marl.exact.clusters import Cluster, Sight, groups
from marl.exact.marginal_bound import Program, certified, multipliers, program
from tests.envs.joint import joint_actions, joint_states, matrix_and_rewards, optimal_reward

STAR = Network.from_edges(4, [(0, 1), (0, 2), (0, 3)])
PARTS = Network.from_edges(4, [(0, 1), (1, 2)])
NETWORKS: dict[str, Callable[[], NetworkedMDP]] = {
    "tables": lambda: random_local_mdp("line:4", [2, 3, 2, 2], [2, 1, 2, 2], private_actions=False, private_rewards=False),
    "private": lambda: random_local_mdp("ring:4", 2, [2, 2, 1, 2], reward_low=-1.0),
    "star": lambda: Epidemic(STAR, infection=[0.2, 0.5, 0.3, 0.9], leak=0.3, mutual=True),
    "queues": lambda: LoadBalancing("line:3", buffer=[1, 2, 1], arrival=[0.3, 0.6, 0.2], holding=0.1),
    "links": lambda: Scheduling("line:4", buffer=[2, 1, 1, 2]),
    "users": lambda: WirelessAccess(incidence=[[0], [0, 1], [1]], deadline=[2, 1, 2]),
    "parts": lambda: random_local_mdp(PARTS, 2, 2, private_actions=False, instance_seed=3),
}


def made(env: NetworkedMDP, order: int) -> tuple[list[Cluster], Program]:
    """The clusters of all groups of an order, and their program."""
    sight = Sight(LocalLaws(env))
    found = [Cluster(sight, group) for group in groups(sight.laws, order, 1000) or []]
    return found, program(found)


def marginals(env: NetworkedMDP, found: list[Cluster]) -> tuple[np.ndarray, float]:
    """The mass of every cell of every cluster in the long run of a random policy, joint pair by joint pair, and its J."""
    policy = RandomTable(env)
    matrix, rewards = matrix_and_rewards(env, policy)
    system = np.vstack([matrix.T - np.eye(len(matrix)), np.ones(len(matrix))])
    law = np.linalg.lstsq(system, np.append(np.zeros(len(matrix)), 1.0))[0]
    mass = [np.zeros(cluster.shape) for cluster in found]
    for s, weight in zip(joint_states(env), law, strict=True):
        probs = policy.probs(s[None])[0].double()
        for a in joint_actions(env):
            chance = float(probs[torch.arange(env.n), a].prod())
            if chance > 0.0:
                z = env.index.pairs(s[None], a[None])[0]
                for cluster, table in zip(found, mass, strict=True):
                    table[tuple(cluster.view[j][z[j]] for j in cluster.agents)] += weight * chance
    return np.concatenate([table.ravel() for table in mass]), float(law @ rewards)


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_stationary_law_is_feasible_and_earns_what_its_policy_does(name: str, order: int) -> None:
    """Every coefficient counts: a wrong one leaves some mass over."""
    env = NETWORKS[name]()
    found, linear = made(env, order)
    mu, average = marginals(env, found)
    assert np.add.reduceat(mu, linear.start) == pytest.approx(1.0)
    assert np.abs(linear.balance @ mu).max() < 1e-9
    assert linear.gain @ mu == pytest.approx(average, abs=1e-9)


@pytest.mark.parametrize("name", NETWORKS)
def test_orders_go_down_to_the_optimum(name: str) -> None:
    env = NETWORKS[name]()
    best = optimal_reward(env, 1e-10)
    values = [marginal_bound(env, order).value for order in range(1, env.n + 1)]
    assert min(values) >= best - 1e-9
    assert all(later <= earlier + 1e-9 for earlier, later in itertools.pairwise(values))
    assert marginal_bound(env).order == env.n
    assert values[-1] == pytest.approx(best, abs=1e-7)


def test_the_ring_of_the_epidemic() -> None:
    """Agents alone: imported cases only, imp / (imp + rec); three in a row say what the whole network can have (-.0445)."""
    assert marginal_bound(Epidemic(), 1).value == pytest.approx(-0.01 / 0.31, abs=1e-9)
    small, large = marginal_bound(Epidemic(), 3), marginal_bound(Epidemic("ring:20"), 3)
    best = optimal_reward(Epidemic(), 1e-9)
    assert best - 1e-9 <= small.value < best + 1e-6
    assert large.value == pytest.approx(small.value, abs=1e-6)
    assert (large.order, large.variables) == (3, 20 * 2**8)


@pytest.mark.parametrize("name", ["tables", "queues"])
def test_any_multipliers_give_a_bound(name: str) -> None:
    """The certified value needs no optimum: from the solver's it is tight, from disturbed ones larger, never too small."""
    env, draw = NETWORKS[name](), np.random.default_rng(0)
    found, linear = made(env, 2)
    y, best = multipliers(linear), optimal_reward(env, 1e-10)
    tight = certified(linear, y)
    assert marginals(env, found)[1] < best < tight + 1e-9
    for scale in 1e-9, 1e-4, 1e-2, 1.0, 100.0:
        for _ in range(5):
            disturbed = certified(linear, y + scale * draw.standard_normal(len(y)))
            assert disturbed >= tight - 1e-9
    whole = made(env, env.n)[1]
    assert certified(linear, np.zeros(len(y))) >= certified(whole, np.zeros(whole.balance.shape[0])) >= best


def test_rounding_is_added() -> None:
    """Against fractions: of 20 clusters with one cell each, some are rounded down."""
    draw, start = np.random.default_rng(0), np.arange(1)
    for _ in range(20):
        gain, column, y = draw.random(1), draw.standard_normal((5, 1)), draw.standard_normal(5)
        exact = Fraction(gain[0]) - sum(Fraction(c) * Fraction(x) for c, x in zip(column[:, 0], y, strict=True))
        assert exact < Fraction(certified(Program(gain, sparse.csr_array(column), start), y)) < exact + Fraction(1e-13)


@pytest.mark.parametrize(("name", "order"), [("private", 2), ("star", 1), ("links", 2)])
def test_what_a_chain_implies_need_not_be_said(name: str, order: int, monkeypatch: pytest.MonkeyPatch) -> None:
    env = NETWORKS[name]()
    few = marginal_bound(env, order)
    monkeypatch.setattr(clusters, "_chained", lambda *_: False)
    all_pairs = marginal_bound(env, order)
    assert all_pairs.constraints > few.constraints
    assert all_pairs.value == pytest.approx(few.value, abs=1e-8)


def test_laws_tell_apart_what_they_must() -> None:
    """A link's law sees whether a neighbor sends, not its queue: 5 pairs of its own times 2 x 2 classes."""
    (cluster,) = [Cluster(Sight(LocalLaws(Scheduling("line:3", buffer=2))), [1])]
    assert (cluster.agents, cluster.shape) == ([0, 1, 2], [2, 5, 2])


def test_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    module = sys.modules["marl.exact.marginal_bound"]
    env = NETWORKS["private"]()
    with pytest.raises(ConfigError, match="order must be a whole number of at least 1, got 0"):
        marginal_bound(env, 0)
    with pytest.raises(ConfigError, match=r"groups of 8 of 20 agents has more than the 2\.1e"):
        marginal_bound(Epidemic("ring:20"), 8)
    assert groups(LocalLaws(env), 2, 4) == [(0, 1), (0, 3), (1, 2), (2, 3)]
    assert groups(LocalLaws(env), 2, 3) is None
    monkeypatch.setattr(module, "QUICK", 100)
    assert marginal_bound(env).order == 1
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "scipy", None)
        with pytest.raises(ConfigError, match=r"needs scipy: pip install networked-marl\[bounds\]"):
            marginal_bound(env)
    linear = made(env, 1)[1]
    with pytest.raises(MarlError, match=r"was given up: .*infeasible"):
        multipliers(linear._replace(balance=np.ones((1, len(linear.gain)))))


@pytest.mark.parametrize(("scale", "shift"), [(1e-12, 0.0), (1e9, 0.0), (1e-3, 1e3)])
def test_bound_is_as_tight_in_any_unit_of_reward(scale: float, shift: float) -> None:
    """The solver's tolerances are absolute: rewards of 1e-12 were all alike to it."""
    env = random_local_mdp("line:3", num_actions=2, private_actions=False, instance_seed=2, reward_low=-1.0)
    laws, rewards = env.as_tables()
    other = LocalMDP(env.network, laws, [scale * table + shift for table in rewards])
    right = marginal_bound(env, 2).value
    assert (marginal_bound(other, 2).value - shift) / scale == pytest.approx(right, abs=1e-6)
