"""The matrix-free chain against the dense one, and what their solutions promise about themselves."""

import time
from typing import Any

import numpy as np
import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs import LocalMDP, random_local_mdp
from marl.exact import AverageValues, Chain, LocalLaws, solve, stationary
from marl.exact.values import next_value
from marl.policies import RandomTable, TabularSoftmax, Uniform

STAR = Network.from_edges(5, [(0, 1), (0, 2), (0, 3), (0, 4)])
HUB_LAST = Network.from_edges(6, [(5, j) for j in range(4)] + [(3, 4)])
TREE = Network.from_edges(9, [(8, 0), (8, 1), (0, 4), (0, 7), (1, 2), (1, 3), (4, 5), (4, 6)])
APART = Network.from_edges(6, [(0, 3), (1, 4), (4, 5)])
GRAPHS: list[tuple[str | Network, dict[str, Any]]] = [  # two instances each: private and shared actions
    ("line:5", {"num_states": [3, 2, 4, 2, 3]}),
    ("line:8", {}),
    ("line:9", {}),
    ("ring:6", {"num_states": [2, 3, 2, 1, 2, 3], "num_actions": [1, 2, 3, 2, 1, 2]}),
    ("grid:2x3", {"num_states": 3, "num_actions": 2}),
    ("king:2x2", {"num_states": [4, 3, 2, 3], "num_actions": 2}),
    (STAR, {"num_states": [2, 3, 2, 3, 2], "num_actions": 2}),
    (HUB_LAST, {"num_states": [2, 3, 2, 2, 3, 2], "num_actions": 2}),
    (TREE, {"num_actions": 2}),
    (APART, {"num_states": [2, 3, 2, 3, 2, 2]}),
]
NAMES = ["line 5", "line 8", "line 9", "ring 6", "grid", "king", "star", "hub last", "tree", "apart"]
CLOSE = {"rtol": 0.0, "atol": 1e-10}


def both(graph: str | Network, sizes: dict[str, Any], seed: int, private: bool) -> tuple[Chain, Chain]:
    """One instance, dense and matrix-free; rewards shared where actions are private and the reverse."""
    env = random_local_mdp(
        graph,
        **sizes,
        distribution="dirichlet",
        private_actions=private,
        private_rewards=not private,
        reward_low=-1.0,
        instance_seed=seed,
    )
    policy, laws = RandomTable(env, distribution="dirichlet", instance_seed=seed), LocalLaws(env)
    return Chain(env, policy, method="dense", laws=laws), Chain(env, policy, method="free", laws=laws)


@pytest.mark.parametrize("private", [True, False], ids=["private", "shared"])
@pytest.mark.parametrize(("graph", "sizes"), GRAPHS, ids=NAMES)
def test_free_equals_dense(graph: str | Network, sizes: dict[str, Any], private: bool) -> None:
    dense, free = both(graph, sizes, seed=11, private=private)
    draw = np.random.default_rng(3)
    h, w = draw.uniform(-1, 1, (2, dense.num_states, 3))
    np.testing.assert_allclose(dense.matrix.sum(dim=1), 1.0, **CLOSE)
    np.testing.assert_allclose(free.expect(h), dense.expect(h), **CLOSE)
    np.testing.assert_allclose(free.push(w), dense.push(w), **CLOSE)
    for chain in (dense, free):
        assert np.vdot(w, chain.expect(h)) == pytest.approx(np.vdot(chain.push(w), h), abs=1e-9)
    one, other = AverageValues(dense), AverageValues(free)
    np.testing.assert_allclose(other.stationary, one.stationary, **CLOSE)
    np.testing.assert_allclose(other.J, one.J, **CLOSE)
    np.testing.assert_allclose(other.V, one.V, **CLOSE)
    np.testing.assert_allclose(one.stationary @ one.V, 0.0, **CLOSE)
    np.testing.assert_allclose(one.stationary @ torch.from_numpy(dense.rewards()), one.J, **CLOSE)
    assert float(other.solution.residual.max()) < 1e-12
    assert (one.solution.iterations, other.solution.iterations > 0) == (0, True)


@pytest.mark.parametrize("private", [True, False], ids=["private", "shared"])
@pytest.mark.parametrize(("graph", "sizes"), GRAPHS[:4], ids=NAMES[:4])
def test_another_policy_and_columns_one_by_one(graph: str | Network, sizes: dict[str, Any], private: bool) -> None:
    """`expect` under a policy that is not the chain's; many columns at once equal one after the other."""
    dense, free = both(graph, sizes, seed=4, private=private)
    uniform = Chain(dense.env, Uniform(dense.env), method="dense")
    h = np.random.default_rng(5).uniform(-1, 1, (dense.num_states, 6))
    for chain in (dense, free):
        np.testing.assert_allclose(chain.expect(h, uniform.tables), uniform.expect(h), **CLOSE)
        np.testing.assert_allclose(chain.rewards(policy=uniform.tables), uniform.rewards(), **CLOSE)
    columns = [free.expect(h[:, [c]]) for c in range(6)]
    np.testing.assert_allclose(np.hstack(columns), free.expect(h), rtol=0, atol=1e-15)
    np.testing.assert_array_equal(dense.rewards([1]), dense.rewards()[:, [1]])


@pytest.mark.parametrize("private", [True, False], ids=["private", "shared"])
def test_the_next_value_is_that_of_the_matrix(private: bool) -> None:
    """sum_a zeta(a|s) E[h(s')|s, a] = (P h)(s), all actions listed."""
    dense, _ = both("ring:4", {"num_states": [2, 3, 2, 2], "num_actions": [2, 1, 3, 2]}, seed=2, private=private)
    h = np.random.default_rng(1).random((dense.num_states, 2))
    actions = np.stack(np.unravel_index(np.arange(12), (2, 1, 3, 2)), axis=1)
    total = np.zeros_like(h)
    for a in actions:
        s = torch.from_numpy(dense.states())
        weight = np.prod([dense.tables[i][dense.states()[:, i], a[i]] for i in range(4)], axis=0)
        total += weight[:, None] * next_value(dense, h, s, torch.from_numpy(a).expand_as(s)).numpy()
    np.testing.assert_allclose(total, dense.expect(h), **CLOSE)


def test_numbers_of_joint_states() -> None:
    chain, _ = both("line:3", {"num_states": [3, 2, 4]}, 0, True)
    assert chain.states(np.array(0)).tolist() == [0, 0, 0]
    assert chain.states(np.array(23)).tolist() == [2, 1, 3]
    assert chain.states(np.array([1, 4, 8])).tolist() == [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    np.testing.assert_array_equal(chain.number(chain.states()), np.arange(24))


def relabelled(env: LocalMDP, new: list[int]) -> LocalMDP:
    """Agent i becomes agent new[i]; its tables' axes are put in the increasing order of the new names."""
    old = np.argsort(new)
    network = Network.from_edges(env.n, [(new[i], new[j]) for i, j in env.network.edges.tolist()])
    index, mask, _ = env.network.neighborhood(1)
    laws, rewards = env.as_tables()
    transition, reward = [], []
    for i in old:
        order = np.argsort([new[j] for j in index[i, mask[i]].tolist()])
        if env.private_actions:
            transition.append(laws[i].transpose([*order, len(order), len(order) + 1]))
        else:
            axes = [axis for k in order for axis in (2 * k, 2 * k + 1)]
            transition.append(laws[i].transpose([*axes, len(axes)]))
        pairs = [axis for k in order for axis in (2 * k, 2 * k + 1)]
        reward.append(rewards[i] if env.private_rewards else rewards[i].transpose(pairs))
    return LocalMDP(network, transition, reward)


@pytest.mark.parametrize("private", [True, False], ids=["private", "shared"])
@pytest.mark.parametrize("method", ["dense", "free"])
@pytest.mark.parametrize("which", [0, 3, 6, 7])
def test_the_order_of_agents_does_not_matter(which: int, method: str, private: bool) -> None:
    graph, sizes = GRAPHS[which]
    chain, _ = both(graph, sizes, seed=8, private=private)
    assert isinstance(chain.env, LocalMDP)
    n, values = chain.n, AverageValues(chain)
    for seed in range(3):
        new = np.random.default_rng(seed).permutation(n).tolist()
        env = relabelled(chain.env, new)
        policy = RandomTable(env)
        for i in range(n):
            table = torch.from_numpy(chain.tables[i])
            policy.table[new[i]] = 0.0
            policy.table[new[i], : table.shape[0], : table.shape[1]] = table
        other = Chain(env, policy, method=method)
        found = AverageValues(other)
        s = other.states()[:, new]  # column i: the state of the agent that was i
        number = chain.number(s)
        np.testing.assert_allclose(found.J[new], values.J, **CLOSE)
        np.testing.assert_allclose(found.V[:, new], values.V[number], **CLOSE)
        np.testing.assert_allclose(found.stationary, values.stationary[number], **CLOSE)


def draining(seed: int, shared: bool) -> LocalMDP:
    """Three agents that never return to state 0, and leave state 1 for good with every step at odds."""
    draw, laws, rewards = np.random.default_rng(seed), [], []
    for members in ([0, 1], [0, 1, 2], [1, 2]):
        table = draw.random((3, 2) * len(members) + (3,)) if shared else draw.random((3,) * len(members) + (2, 3))
        table[..., 0] = 0.0
        laws.append(table / table.sum(axis=-1, keepdims=True))
        rewards.append(draw.random((3, 2)))
    return LocalMDP(Network.line(3), laws, rewards)


@pytest.mark.parametrize("shared", [False, True], ids=["private", "shared"])
@pytest.mark.parametrize("method", ["dense", "free"])
def test_transient_states(method: str, shared: bool) -> None:
    for seed in range(5):
        env = draining(seed, shared)
        policy = RandomTable(env, instance_seed=seed)
        reference, chain = Chain(env, policy, method="dense"), Chain(env, policy, method=method)
        values, one = AverageValues(chain), AverageValues(reference)
        np.testing.assert_allclose(values.J, one.J, **CLOSE)
        np.testing.assert_allclose(values.V, one.V, **CLOSE)
        fleeting = (chain.states() == 0).any(axis=1)
        inside = np.ix_(~fleeting, ~fleeting)
        limit = np.linalg.matrix_power(reference.matrix.numpy()[inside], 2**10)[0]  # all recurrent and positive
        np.testing.assert_allclose(values.stationary[torch.from_numpy(~fleeting)], limit, **CLOSE)
        assert float(values.stationary[torch.from_numpy(fleeting)].max()) < 1e-14


@pytest.mark.parametrize(
    "method",
    ["dense", "free"],
)
def test_transient_states_have_probability_zero(method: str) -> None:
    """... exactly: what is never visited is seen from it (`critic_fixed_point`, `Ergodicity.sigma`)."""
    for seed in range(5):
        env = draining(seed, False)
        chain = Chain(env, RandomTable(env, instance_seed=seed), method=method)
        fleeting = (chain.states() == 0).any(axis=1)
        assert (stationary(chain)[torch.from_numpy(fleeting)] == 0.0).all()


def test_slowly_draining_states_have_probability_zero() -> None:
    """State 0 is left with probability 1/2 and never entered."""
    env = LocalMDP(
        Network.line(1), [np.array([[[0.5, 0.5, 0.0]], [[0.0, 0.5, 0.5]], [[0.0, 0.3, 0.7]]])], [np.eye(3)[:, :1]]
    )
    assert float(stationary(Chain(env, Uniform(env), method="free"))[0]) == 0.0


def cycle(length: int, others: int = 1) -> LocalMDP:
    """Agent 0 goes round a cycle and has reward 1 in its state 0; further agents copy their left neighbor's parity."""
    n = 1 + others
    sizes = [length] + [2] * others
    laws, rewards = [], [np.eye(length)[:, :1]]
    for i in range(n):
        members = [j for j in (i - 1, i, i + 1) if 0 <= j < n]
        shape = [sizes[j] for j in members]
        table = np.zeros((*shape, 1, sizes[i]))
        for s in np.ndindex(*shape):
            table[(*s, 0, (s[0] + 1) % length if i == 0 else s[0] % 2)] = 1.0
        laws.append(table)
        if i:
            rewards.append(np.array([[0.0], [1.0]]))
    return LocalMDP(Network.line(n), laws, rewards)


@pytest.mark.parametrize("method", ["dense", "free"])
@pytest.mark.parametrize(("length", "others"), [(2, 1), (3, 0), (4, 2), (6, 3)])
def test_periodic_chains(length: int, others: int, method: str) -> None:
    """J, the law and V (a Cesaro limit) of a deterministic cycle: V_0(s) = (length - 1)/(2 length) - (wait) / length."""
    env = cycle(length, others)
    chain = Chain(env, Uniform(env), method=method)
    values = AverageValues(chain)
    parity = (length // 2) / length
    np.testing.assert_allclose(values.J, [1 / length] + [parity] * others, **CLOSE)
    wait = (-chain.states()[:, 0]) % length
    np.testing.assert_allclose(values.V[:, 0], ((length - 1) / 2 - wait) / length, rtol=0, atol=1e-9)
    seen = values.stationary.numpy()
    np.testing.assert_allclose(np.bincount(chain.states()[:, 0], weights=seen), 1 / length, **CLOSE)
    np.testing.assert_allclose(np.sort(seen)[-length:], 1 / length, **CLOSE)
    assert float(values.solution.residual.max()) < 1e-10


def test_the_error_bounds_the_error() -> None:
    """Span of V's error against the dense solution, at loose tolerances, over instances where a bound is given at all."""
    given = 0
    for seed in range(40):
        draw = np.random.default_rng(seed)
        env = random_local_mdp(
            ("line:4", "ring:4", STAR)[seed % 3],
            2,
            2,
            interaction=float(draw.uniform(0.1, 0.9)),
            private_actions=bool(seed % 2),
            reward_low=-1.0,
            instance_seed=seed,
        )
        policy = RandomTable(env, instance_seed=seed)
        exact = AverageValues(Chain(env, policy, method="dense"))
        assert float(exact.solution.residual.max()) < 1e-14
        for tolerance in (1e-1, 1e-3, 1e-6, 1e-9):
            rough = AverageValues(Chain(env, policy, method="free"), tolerance=tolerance)
            difference = rough.solution.V - exact.solution.V
            span = difference.amax(dim=0) - difference.amin(dim=0)
            given += int(rough.solution.error.isfinite().all())
            assert (span <= rough.solution.error * (1 + 1e-9) + 1e-13).all()
    assert 80 <= given < 160


def test_the_residual_bounds_the_error_of_j() -> None:
    for seed in range(10):
        env = random_local_mdp("line:4", reward_low=-1.0, instance_seed=seed)
        policy = RandomTable(env, instance_seed=seed)
        exact = AverageValues(Chain(env, policy, method="dense"))
        rough = AverageValues(Chain(env, policy, method="free"), tolerance=0.1)
        assert ((rough.J - exact.J).abs() <= rough.solution.residual / 2 + 1e-14).all()


def lazy(second: float) -> LocalMDP:
    """Two states that are left with equal probability; the second eigenvalue is `second`. r = s."""
    stay, leave = (1 + second) / 2, (1 - second) / 2
    return LocalMDP(Network.line(1), [np.array([[[stay, leave]], [[leave, stay]]])], [np.array([[0.0], [1.0]])])


@pytest.mark.parametrize("second", [0.9, 0.98, 0.99, 0.995, 0.999, 0.9999])
def test_slow_mixing_is_solved_or_refused(second: float) -> None:
    """V = +-1/2 / (1 - second). The last increments that are taken for rounding are 1e-11, of V 1e-11 / (1 - second)."""
    env = lazy(second)
    chain = Chain(env, Uniform(env), method="free")
    began = time.perf_counter()
    if second > 0.998:
        with pytest.raises(ConfigError, match=r"mixes too slowly for the matrix-free solver.*use method=dense"):
            AverageValues(chain)
    else:
        values = AverageValues(chain)
        exact = np.array([-0.5, 0.5]) / (1 - second)
        error = np.ptp(values.V[:, 0].numpy() - exact)
        rounding = 1e-15 * np.abs(exact).max() / (1 - second)  # that of the residual, passed on
        assert error <= float(values.solution.error) + rounding
        assert float(values.solution.error) < 2e-11 / (1 - second)
        assert float(values.J) == pytest.approx(0.5, abs=1e-10)
    assert time.perf_counter() - began < 5.0
    dense = AverageValues(Chain(env, Uniform(env), method="dense"))
    np.testing.assert_allclose(dense.V[:, 0], np.array([-0.5, 0.5]) / (1 - second), rtol=1e-9)


def test_moderately_slow_mixing_is_solved_to_the_tolerance() -> None:
    """Second eigenvalue 0.99: full steps would reach 1e-14 in 3,200 iterations."""
    env = lazy(0.99)
    assert float(AverageValues(Chain(env, Uniform(env), method="free")).solution.residual) < 1e-13


def test_rewards_far_from_zero() -> None:
    """1e6 + U[0, 1]: differences of Q are those of U[0, 1]."""
    env = random_local_mdp("line:4", reward_low=1e6, reward_high=1e6 + 1.0)
    policy = RandomTable(env)
    dense, free = (AverageValues(Chain(env, policy, method=method)).V for method in ("dense", "free"))
    np.testing.assert_allclose(free, dense, rtol=0, atol=1e-7)


def test_constant_rewards_and_a_single_state() -> None:
    for method in ("dense", "free"):
        env = random_local_mdp("line:4", reward_low=0.5, reward_high=0.5)
        values = AverageValues(Chain(env, RandomTable(env), method=method))
        np.testing.assert_allclose(values.J, 0.5, **CLOSE)
        np.testing.assert_allclose(values.V, 0.0, **CLOSE)
        alone = random_local_mdp("line:3", 1, 1)
        still = AverageValues(Chain(alone, Uniform(alone), method=method))
        np.testing.assert_allclose(still.J, [float(table[0, 0]) for table in alone.as_tables()[1]], **CLOSE)
        assert still.V.shape == (1, 3)


def test_auto_chooses_by_size() -> None:
    def method(spec: str, **sizes: Any) -> str:
        env = random_local_mdp(spec, **sizes)
        return Chain(env, RandomTable(env)).method

    assert [method(f"line:{n}") for n in (3, 9, 10, 12, 13)] == ["dense", "dense", "free", "free", "free"]
    assert method("king:3x3", num_states=2, num_actions=2) == "dense"


def test_auto_on_many_agents_with_few_joint_states() -> None:
    env = random_local_mdp("line:20", num_states=[2] * 5 + [1] * 15)
    assert AverageValues(Chain(env, RandomTable(env))).J.shape == (20,)


def test_the_memory_argument() -> None:
    """What is named as needed suffices, what is less is refused; results do not depend on it."""
    env = random_local_mdp("line:12")
    policy = RandomTable(env)
    plenty = Chain(env, policy, method="free")
    needed = 8 * (2 * plenty.elimination.peak + 4 * plenty.elimination.num_sources) / 2**30
    tight = Chain(env, policy, method="free", memory=needed * 1.001)
    with pytest.raises(ConfigError, match=r"4096 joint states need .* GiB"):
        Chain(env, policy, method="free", memory=needed * 0.999)
    h = np.random.default_rng(0).random((4096, 9))
    np.testing.assert_allclose(tight.expect(h), plenty.expect(h), rtol=0, atol=1e-15)
    np.testing.assert_allclose(tight.push(h), plenty.push(h), rtol=0, atol=1e-15)


def test_the_replica_is_the_one_asked_for_and_frozen() -> None:
    env = random_local_mdp("line:3")
    policy = TabularSoftmax(env, replicas=2)
    with torch.no_grad():
        policy.theta[1, :, :, 0] = 1.0
    chains = [Chain(env, policy, replica=b) for b in range(2)]
    before = [solve(chain, chain.rewards()).J for chain in chains]
    assert not torch.allclose(*before)
    with torch.no_grad():
        policy.theta.normal_(generator=torch.Generator().manual_seed(0))
    after = [solve(chain, chain.rewards()).J for chain in chains]
    assert all(map(torch.equal, before, after))
