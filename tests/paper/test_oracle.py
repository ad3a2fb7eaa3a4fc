"""The oracle judged by hand: small chains, finite differences, and the paper's statements, which must hold of it."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest

from marl.envs import WirelessAccess
from marl.policies import TabularSoftmax
from tests.paper import oracle
from tests.paper.oracle import Joint, Model, Part

LINE = [[0, 1], [0, 1, 2], [1, 2]]


def random_model(
    neighbors: list[list[int]],
    legal: list[list[list[int]]],
    seed: int = 0,
    private_actions: bool = False,
    private_rewards: bool = False,
    mixing: float = 1.0,
) -> Model:
    """Tables drawn at random; `mixing` < 1 moves every law towards one that sees nothing."""
    draw = np.random.default_rng(seed)
    n, tables = len(neighbors), {}
    blind = [draw.dirichlet(np.ones(len(legal[i]))) for i in range(n)]

    def table(name: str, key: tuple[object, ...], size: int) -> np.ndarray:
        if (name, key) not in tables:
            tables[name, key] = draw.dirichlet(np.ones(size)) if name == "law" else draw.uniform(-1, 1, 1)
        return tables[name, key]

    def law(s: Joint, a: Joint) -> list[list[float]]:
        rows = []
        for i in range(n):
            key = tuple((j, s[j], a[j] if j == i or not private_actions else -1) for j in neighbors[i])
            rows.append((mixing * table("law", (i, key), len(legal[i])) + (1 - mixing) * blind[i]).tolist())
        return rows

    def reward(s: Joint, a: Joint) -> list[float]:
        near = [[i] if private_rewards else neighbors[i] for i in range(n)]
        return [float(table("reward", (i, tuple((j, s[j], a[j]) for j in near[i])), 1)[0]) for i in range(n)]

    policy = []
    for rows in legal:
        width = 1 + max(max(actions) for actions in rows)
        policy.append([[0.0] * width for _ in rows])
        for x, actions in enumerate(rows):
            for b, p in zip(actions, draw.dirichlet(np.ones(len(actions))), strict=True):
                policy[-1][x][b] = float(p)
    model = Model(n, neighbors, [len(rows) for rows in legal], legal, law, reward, policy)
    oracle.check(model)
    return model


UNEVEN = [[[0], [0, 1]], [[0], [0], [1, 2]], [[0, 1], [0]]]  # 3 + 4 + 3 legal pairs: Z = 36
FULL = [[[0, 1], [0, 1]]] * 3  # Z = 64


def coloring(neighbors: list[list[int]], zeta: list[list[float]]) -> Model:
    """A.2: s_i = 2 u_i + b_i."""
    k = len(zeta[0])

    def law(s: Joint, a: Joint) -> list[list[float]]:
        rows = []
        for i, near in enumerate(neighbors):
            good = all(s[j] // 2 != s[i] // 2 for j in near if j != i)
            rows.append([float(x == 2 * a[i] + good) for x in range(2 * k)])
        return rows

    def reward(s: Joint, a: Joint) -> list[float]:
        return [float(x % 2) for x in s]

    n = len(neighbors)
    legal = [[list(range(k))] * (2 * k)] * n
    return Model(n, neighbors, [2 * k] * n, legal, law, reward, [[list(row)] * (2 * k) for row in zeta])


def test_one_agent_by_hand() -> None:
    def law(s: Joint, a: Joint) -> list[list[float]]:
        return [[0.75, 0.25] if s[0] == 0 else [0.5, 0.5]]

    model = Model(1, [[0]], [2], [[[0], [0]]], law, lambda s, a: [float(s[0])], [[[1.0], [1.0]]])
    assert oracle.all_pairs(model) == [((0,), (0,)), ((1,), (0,))]
    np.testing.assert_allclose(oracle.chain(model), [[0.75, 0.25], [0.5, 0.5]])
    np.testing.assert_allclose(oracle.stationary_pairs(model), [2 / 3, 1 / 3])
    np.testing.assert_allclose(oracle.average_reward(model), [1 / 3])
    # the second eigenvalue is 1/4, so Q = (r - J) sum_t 4^-t = 4/3 (r - J)
    np.testing.assert_allclose(oracle.q(model)[:, 0], [-4 / 9, 8 / 9])
    np.testing.assert_allclose(oracle.value(model)[:, 0], [-4 / 9, 8 / 9])
    # (12) at gamma = 1/2: J / (1 - gamma) + (r - J) / (1 - gamma / 4)
    np.testing.assert_allclose(oracle.discounted_q(model, 0.5)[:, 0], [2 / 3 - 8 / 21, 2 / 3 + 16 / 21])
    np.testing.assert_allclose(oracle.ergodicity(model), [1 / 3, 1 / 4, 1 / 4])  # a reversible chain: mu_D = |lambda_2|
    np.testing.assert_allclose(oracle.interaction_matrix(model, "paper"), [[0.25]])
    assert oracle.critic_fixed_point(model, 0, 0, ((0, 0, 0),)) == pytest.approx({((0, 0, 0),): 0, ((0, 1, 0),): 4 / 3})


def test_order_of_pairs() -> None:
    model = random_model(LINE, UNEVEN)
    assert [len(oracle.local_pairs(model, i)) for i in range(3)] == [3, 4, 3]
    assert oracle.local_pairs(model, 1) == [(0, 0), (1, 0), (2, 1), (2, 2)]
    pairs = oracle.all_pairs(model)
    numbers = [[oracle.local_pairs(model, i).index((s[i], a[i])) for i in range(3)] for s, a in pairs]
    assert [12 * x + 3 * y + z for x, y, z in numbers] == list(range(36))
    states = oracle.all_states(model)
    assert [6 * x + 2 * y + z for x, y, z in states] == list(range(12))


def test_hops() -> None:
    model = random_model(LINE, UNEVEN)
    assert [oracle.hops(model, 0, kappa) for kappa in range(4)] == [{0}, {0, 1}, {0, 1, 2}, {0, 1, 2}]
    assert [oracle.hops(model, 1, kappa) for kappa in range(2)] == [{1}, {0, 1, 2}]
    assert oracle.outside_agents(model, 2, 0) == [0, 1]


def test_two_agents_without_edges() -> None:
    legal = [[[0, 1], [0]], [[0], [0, 1]]]
    both = random_model([[0], [1]], legal, seed=4)
    alone = [
        replace(
            random_model([[0]], [legal[i]]),
            law=lambda s, a, i=i: [both.law(s * 2, a * 2)[i]],  # what the other one does is nothing to i
            reward=lambda s, a, i=i: [both.reward(s * 2, a * 2)[i]],
            policy=[both.policy[i]],
        )
        for i in range(2)
    ]
    np.testing.assert_allclose(oracle.chain(both), np.kron(oracle.chain(alone[0]), oracle.chain(alone[1])))
    q = oracle.q(both).reshape(3, 3, 2)
    np.testing.assert_allclose(q[:, :, 0], np.repeat(oracle.q(alone[0]), 3, axis=1), atol=1e-12)
    np.testing.assert_allclose(q[:, :, 1], np.repeat(oracle.q(alone[1]).T, 3, axis=0), atol=1e-12)
    assert max(oracle.worst_left_side(both, i, 0) for i in range(2)) < 1e-12
    assert oracle.hops(both, 0, 5) == {0}
    disagreement = oracle.coupled_disagreement(both, 2)
    assert disagreement[0, 1] == disagreement[1, 0] == 0


def test_stationary_with_transient_states() -> None:
    chain = np.array([[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5], [0, 0, 0, 1], [0, 0, 1, 0]])  # 0, 1 transient; 2, 3 period 2
    pi = oracle.stationary(chain)
    assert pi.tolist() == [0, 0, 0.5, 0.5]
    with pytest.raises(ValueError, match="more than one"):
        oracle.stationary(np.eye(2))
    with pytest.raises(ValueError, match="more than one"):
        oracle.stationary(np.array([[0.2, 0.4, 0.4], [0, 1, 0], [0, 0, 1]]))


@pytest.mark.parametrize("seed", range(2))
def test_chain_values_and_sums(seed: int) -> None:
    model = random_model(LINE, UNEVEN, seed)
    chain, pi = oracle.chain(model), oracle.stationary_pairs(model)
    r, average = oracle.rewards(model), oracle.average_reward(model)
    q, value, states = oracle.q(model), oracle.value(model), oracle.all_states(model)
    np.testing.assert_allclose(chain.sum(axis=1), 1)
    np.testing.assert_allclose(oracle.state_chain(model).sum(axis=1), 1)
    np.testing.assert_allclose(pi @ chain, pi, atol=1e-14)
    np.testing.assert_allclose(q, r - average + chain @ q, atol=1e-12)  # the Poisson equation
    np.testing.assert_allclose(pi @ q, 0, atol=1e-12)
    by_sum, moved = np.zeros_like(q), r - average  # (3) term by term
    for _ in range(400):
        by_sum, moved = by_sum + moved, chain @ moved
    np.testing.assert_allclose(q, by_sum, atol=1e-10)
    for x, s in enumerate(states):  # V(s) = sum_a zeta(a|s) Q(s, a)
        mean = sum(p * q[oracle.all_pairs(model).index((s, a))] for a, p in oracle.joint_actions(model, s))
        np.testing.assert_allclose(value[x], mean, atol=1e-12)
    state_pi = np.zeros(len(states))
    for k, (s, _) in enumerate(oracle.all_pairs(model)):
        state_pi[states.index(s)] += pi[k]
    np.testing.assert_allclose(state_pi, oracle.stationary(oracle.state_chain(model)), atol=1e-13)
    gamma = 0.9
    discounted = oracle.discounted_q(model, gamma)
    np.testing.assert_allclose(discounted, r + gamma * chain @ discounted, atol=1e-12)
    limit = oracle.discounted_q(model, 1 - 1e-5) - average / 1e-5  # J / (1 - gamma) + Q as gamma -> 1
    np.testing.assert_allclose(limit, q, atol=1e-4)


def test_gradients() -> None:
    model = random_model(LINE, UNEVEN, seed=2)
    exact, numeric = oracle.policy_gradient(model), oracle.finite_difference_gradient(model)
    everywhere = oracle.approximate_gradient(model, 2, np.array(oracle.q(model)))  # kappa = diameter: (7) is exact
    for i in range(3):
        assert exact[i].shape == (model.states[i], len(model.policy[i][0]))
        np.testing.assert_allclose(exact[i], numeric[i], atol=1e-8)
        np.testing.assert_allclose(exact[i], everywhere[i], atol=1e-12)
        np.testing.assert_allclose(exact[i].sum(axis=1), 0, atol=1e-12)
    assert max(np.abs(one).max() for one in exact) > 1e-2


def test_truncation_keeps_the_promises_of_lemma_2() -> None:
    model = random_model(LINE, UNEVEN, seed=3)
    drawn: dict[tuple[int, Part], np.ndarray] = {}

    def weights(i: int, inside: Part, outside: Part) -> float:
        far = [j for j, _, _ in outside]
        all_of_them = list(product(*[oracle.local_pairs(model, j) for j in far]))
        key = (i, inside)
        if key not in drawn:
            drawn[key] = np.random.default_rng(len(drawn)).dirichlet(np.ones(len(all_of_them)))
        return float(drawn[key][all_of_them.index(tuple((x, b) for _, x, b in outside))])

    exact = oracle.policy_gradient(model)
    for kappa in range(3):
        drawn.clear()
        truncated = oracle.truncated_q(model, kappa, weights)
        worst = [oracle.worst_left_side(model, i, kappa) for i in range(3)]
        assert (np.abs(truncated - oracle.q(model)).max(axis=0) <= np.array(worst) + 1e-12).all()  # Lemma 2 (a)
        for i, h in enumerate(oracle.approximate_gradient(model, kappa, truncated)):  # Lemma 2 (b), L = sqrt(2)
            assert np.linalg.norm(h - exact[i]) <= math.sqrt(2) * max(worst) + 1e-12
        pairs = oracle.all_pairs(model)
        for i in range(3):
            assert worst[i] >= max(oracle.left_side(model, i, kappa, z, z2) for z, z2 in product(pairs[::5], pairs[::5]))
    assert oracle.worst_left_side(model, 1, 1) == 0  # kappa at least the eccentricity
    for i, j, kappa in product(range(3), range(3), range(3)):  # (7) takes the agents of N_i^kappa and no other
        only_j = np.zeros((len(oracle.all_pairs(model)), 3))
        only_j[:, j] = oracle.q(model)[:, j]
        assert (j in oracle.hops(model, i, kappa)) == (oracle.approximate_gradient(model, kappa, only_j)[i].any())
    with pytest.raises(ValueError, match="not a distribution"):
        oracle.truncated_q(model, 0, lambda i, inside, outside: 0.2)


@pytest.mark.parametrize("private", [True, False])
def test_decay_bounds_hold(private: bool) -> None:
    model = random_model(LINE, FULL, seed=5, private_actions=private, private_rewards=private, mixing=0.4)
    matrix = oracle.interaction_matrix(model, "z")
    assert (matrix[[0, 2], [2, 0]] == 0).all()
    if private:
        np.testing.assert_allclose(matrix, oracle.interaction_matrix(model, "paper"), atol=1e-15)
    else:
        with pytest.raises(ValueError, match="private actions"):
            oracle.interaction_matrix(model, "paper")
    for i, kappa in product(range(3), range(3)):
        bound = oracle.tail_bound(model, matrix, i, kappa)
        assert oracle.worst_left_side(model, i, kappa) <= bound + 1e-12
        # the tail in closed form, delta' (I - gamma C)^-1 1_far: the terms before the tail are zero
        far = np.array([float(j not in oracle.hops(model, i, kappa)) for j in range(3)])
        delta = np.array([oracle.reward_variation(model, i, j) for j in range(3)])
        for gamma in (1.0, 0.5):
            closed = delta @ np.linalg.solve(np.eye(3) - gamma * matrix, far)
            assert oracle.tail_bound(model, matrix, i, kappa, gamma=gamma) == pytest.approx(closed, rel=1e-9)
    assert oracle.tail_bound(model, matrix / np.abs(np.linalg.eigvals(matrix)).max(), 0, 0) == math.inf


def test_couplings() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        p, p2 = draw.dirichlet(np.ones(4)), draw.dirichlet(np.ones(4))
        p[0], p[1] = 0, p[0] + p[1]
        for joint in (oracle.maximal_coupling(p, p2), oracle.monotone_coupling(p, p2)):
            assert (joint >= 0).all()
            np.testing.assert_allclose(joint.sum(axis=1), p, atol=1e-14)
            np.testing.assert_allclose(joint.sum(axis=0), p2, atol=1e-14)
        assert oracle.maximal_coupling(p, p2).trace() == pytest.approx(1 - oracle.tv(p, p2))
    np.testing.assert_allclose(oracle.monotone_coupling([0.5, 0.5], [0.25, 0.75]), [[0.25, 0.25], [0, 0.5]])
    expected = [[0.25, 0, 0.25], [0, 0.25, 0.25], [0, 0, 0]]
    np.testing.assert_allclose(oracle.maximal_coupling([0.5, 0.5, 0], [0.25, 0.25, 0.5]), expected)


def test_coupled_disagreement() -> None:
    model = random_model([[0, 1], [0, 1]], UNEVEN[:2], seed=6, mixing=0.5)
    matrix = oracle.interaction_matrix(model, "z")
    np.testing.assert_allclose(oracle.coupled_disagreement(model, 1), matrix, atol=1e-14)  # T = 1 gives back C
    two = oracle.coupled_disagreement(model, 2)
    assert (two <= matrix @ matrix + 1e-14).all()
    power, pairs = np.linalg.matrix_power(oracle.chain(model), 2), oracle.all_pairs(model)
    for i, j in product(range(2), range(2)):  # a coupling never beats the total variation of z_i(T)
        for k, z in enumerate(pairs):
            for z2 in oracle.changed(model, z, j):
                gap: dict[tuple[int, int], float] = {}
                for column, (s, a) in enumerate(pairs):
                    gap[s[i], a[i]] = gap.get((s[i], a[i]), 0.0) + power[k, column] - power[pairs.index(z2), column]
                assert sum(abs(x) for x in gap.values()) / 2 <= two[i, j] + 1e-12


def test_coupled_disagreement_forwards() -> None:
    """The same two steps followed forwards, path by path, from every pair of starts."""
    model, worst = random_model([[0, 1], [0, 1]], FULL[:2], seed=8), np.zeros((2, 2))
    pairs = oracle.all_pairs(model)
    following: dict[tuple[oracle.Pair, oracle.Pair], list[tuple[oracle.Pair, oracle.Pair, float]]] = {}
    for z, z2 in product(pairs, pairs):
        agents = [oracle.coupled_agent(model, k, model.law(*z)[k], model.law(*z2)[k]) for k in range(2)]
        for k, joint in enumerate(agents):
            for law, marginal in [(model.law(*z)[k], joint.sum(axis=1)), (model.law(*z2)[k], joint.sum(axis=0))]:
                expected = [law[x] * model.policy[k][x][b] for x, b in oracle.local_pairs(model, k)]
                np.testing.assert_allclose(marginal, expected, atol=1e-14)
        following[z, z2] = [
            (pairs[4 * u + v], pairs[4 * u2 + v2], float(agents[0][u, u2] * agents[1][v, v2]))
            for u, u2, v, v2 in product(range(4), repeat=4)
            if agents[0][u, u2] * agents[1][v, v2] > 0
        ]
    for j, z in product(range(2), pairs):
        for z2 in oracle.changed(model, z, j):
            apart = np.zeros(2)
            for w, w2, p in following[z, z2]:
                for y, y2, p2 in following[w, w2]:
                    for i in range(2):
                        apart[i] += p * p2 * ((y[0][i], y[1][i]) != (y2[0][i], y2[1][i]))
            worst[:, j] = np.maximum(worst[:, j], apart)
    np.testing.assert_allclose(oracle.coupled_disagreement(model, 2), worst, atol=1e-12)


def test_actions_of_coupled_copies() -> None:
    model = replace(random_model([[0]], FULL[:1]), policy=[[[0.5, 0.5], [0.25, 0.75]]])
    joint = oracle.coupled_agent(model, 0, [1.0, 0.0], [0.5, 0.5])  # rows, columns: (0,0), (0,1), (1,0), (1,1)
    np.testing.assert_allclose(joint, 0.5 * np.array([[0.5, 0, 0.25, 0.25], [0, 0.5, 0, 0.5], [0] * 4, [0] * 4]))


def test_critic_fixed_point_and_theorem_3() -> None:
    model = random_model(LINE, UNEVEN, seed=7)
    pi, (_, mu, _) = oracle.stationary_pairs(model), oracle.ergodicity(model)
    for i, kappa in product(range(3), range(3)):
        insides = [oracle.part(z, oracle.hops(model, i, kappa)) for z in oracle.all_pairs(model)]
        found = oracle.critic_fixed_point(model, i, kappa, insides[-1])
        assert found[insides[-1]] == 0
        other, free = oracle.critic_fixed_point(model, i, kappa, insides[0]), oracle.critic_fixed_point(model, i, kappa)
        spread = [[one[inside] - found[inside] for inside in found] for one in (other, free)]
        assert max(np.ptp(differences) for differences in spread) < 1e-9  # one solution, up to a constant
        on_z = np.array([found[inside] for inside in insides])
        error = math.sqrt(pi @ (on_z - pi @ on_z - oracle.q(model)[:, i]) ** 2)
        assert error <= oracle.worst_left_side(model, i, kappa) / (1 - mu) + 1e-9  # (13)
    with pytest.raises(ValueError, match="dummy"):
        oracle.critic_fixed_point(model, 0, 0, ((0, 0, 1),))


def test_coloring() -> None:
    neighbors, zeta = [[0, 1], [0, 1]], [[0.3, 0.7], [0.6, 0.4]]
    model = coloring(neighbors, zeta)
    oracle.check(model)
    average = oracle.coloring_average(neighbors, zeta)
    assert average == pytest.approx(0.3 * 0.4 + 0.7 * 0.6)
    assert oracle.average_reward(model).mean() == pytest.approx(average)
    assert oracle.coloring_average(neighbors, [[1, 0], [0, 1]]) == 1
    sigma, mu, second = oracle.ergodicity(model)
    assert sigma == 0  # unreachable bits
    assert mu == pytest.approx(1)  # trap 3
    assert second < 1e-3
    assert oracle.interaction_matrix(model, "paper")[0, 0] == oracle.interaction_matrix(model, "z")[0, 0] == 1
    found = oracle.critic_fixed_point(model, 0, 1, oracle.part(((1, 3), (0, 0)), [0, 1]))
    assert sum(math.isnan(value) for value in found.values()) == (oracle.stationary_pairs(model) == 0).sum() == 32
    k = oracle.all_pairs(model).index(((1, 3), (0, 0)))
    for z, value, exact in zip(oracle.all_pairs(model), found.values(), oracle.q(model)[:, 0], strict=True):
        assert math.isnan(value) or value == pytest.approx(exact - oracle.q(model)[k, 0], abs=1e-9), z


def test_model_of_an_environment() -> None:
    env = WirelessAccess(incidence=[[0], [0, 1], [1]], deadline=[1, 2, 1], instance_seed=1)
    model = oracle.model_of(env, TabularSoftmax(env, replicas=2), replica=1)
    oracle.check(model)
    assert model.neighbors == LINE
    for i in range(3):
        for x in range(model.states[i]):
            for b in range(int(env.num_actions[i])):
                assert (b in model.legal[i][x]) == bool(env.action_mask[i, x, b])
    assert not oracle.has_private_actions(model)
    exact, numeric = oracle.policy_gradient(model), oracle.finite_difference_gradient(model)
    for i in range(3):
        np.testing.assert_allclose(exact[i], numeric[i], atol=1e-8)
