"""The discounted objective (12): values, gradient, and Corollary 1 and Lemma 2 as they read there.

Against sums over time and plain loops over all joint pairs (`tests/paper/discounted_oracle.py`).
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs import LocalMDP, random_local_mdp
from marl.exact import (
    AverageValues,
    Chain,
    DiscountedValues,
    JointPairs,
    approximate_gradient,
    certificate,
    decay_curve,
    discounted_gradient,
    discounted_gradient_by_autograd,
    discounted_pairs,
    gradient,
    norm,
    poisson,
    truncated_q,
    worst_decay,
)
from marl.policies import NeuralPolicy, RandomTable, StateIndependentSoftmax, TabularSoftmax, Uniform
from tests.paper import discounted_oracle, oracle
from tests.paper.instances import CASES, WEAK, Case, every_case, in_oracle_coordinates, randomized

CLOSE = {"rtol": 0.0, "atol": 1e-10}
discounts = pytest.mark.parametrize("gamma", [0.3, 0.9])
both_private_and_shared = pytest.mark.parametrize("private_rewards", [True, False])
both_routes = pytest.mark.parametrize("method", ["dense", "free"])


def start_of(case: Case) -> torch.Tensor:
    """A law over joint states, of which a third are left out."""
    weight = np.random.default_rng(6).random(len(oracle.all_states(case.model)))
    weight[1::3] = 0.0
    return torch.from_numpy(weight / weight.sum())


def joint_of(case: Case, gamma: float) -> JointPairs:
    return discounted_pairs(case.chain("dense"), gamma, start_of(case))


def at_the_oracles_pairs(case: Case) -> list[int]:
    """Where the oracle's joint pairs stand in the tables over Z."""
    place = {z: k for k, z in enumerate(oracle.all_pairs(case.model))}
    s, a = case.joint.pairs
    found = [place[tuple(x), tuple(b)] for x, b in zip(s.tolist(), a.tolist(), strict=True)]
    assert found == list(range(len(place)))
    return found


@every_case
@discounts
@both_routes
def test_q_and_v_12(case: Case, gamma: float, method: str) -> None:
    values = DiscountedValues(case.chain(method), gamma, start_of(case))
    q, v = discounted_oracle.q(case.model, gamma), discounted_oracle.value(case.model, gamma)
    np.testing.assert_allclose(values.q(*case.pairs), q, **CLOSE)
    np.testing.assert_allclose(values.V, v, **CLOSE)
    np.testing.assert_allclose(values.J, start_of(case).numpy() @ v, **CLOSE)
    assert float(values.J.mean()) == pytest.approx(discounted_oracle.objective(case.model, gamma, start_of(case).numpy()))
    uniform = DiscountedValues(case.chain(method), gamma, agents=[case.env.n - 1])
    np.testing.assert_allclose(uniform.J, v.mean(axis=0)[-1:], **CLOSE)
    assert (values.solution.residual / (2 * (1 - gamma)) < 1e-13).all()


@every_case
@discounts
def test_bellman_equation(case: Case, gamma: float) -> None:
    """Q_i(z) = r_i(z) + gamma E[Q_i(z') | z], z' with its action."""
    q = joint_of(case, gamma).q.numpy()[at_the_oracles_pairs(case)]
    right = oracle.rewards(case.model) + gamma * oracle.chain(case.model) @ q
    np.testing.assert_allclose(q, right, **CLOSE)


@every_case
@discounts
@both_routes
def test_occupancy(case: Case, gamma: float, method: str) -> None:
    exact = discounted_oracle.occupancy(case.model, gamma, start_of(case).numpy())
    np.testing.assert_allclose(joint_of(case, gamma).pair_weights, exact, **CLOSE)
    values = DiscountedValues(case.chain(method), gamma, start_of(case))
    by_state = np.zeros(values.chain.num_states)
    for (s, _), weight in zip(oracle.all_pairs(case.model), exact, strict=True):
        by_state[oracle.all_states(case.model).index(s)] += weight
    np.testing.assert_allclose(values.occupancy, by_state, **CLOSE)
    assert float(values.occupancy.sum()) == pytest.approx(1 / (1 - gamma))


@in_oracle_coordinates
@discounts
@both_routes
def test_the_gradient_is_that_of_the_objective(case: Case, gamma: float, method: str) -> None:
    """sum_t gamma^t E[Q grad log zeta] = finite differences of the sum of discounted rewards."""
    start = start_of(case)
    found = discounted_gradient(case.chain(method), gamma, start)["theta"]
    exact = discounted_oracle.policy_gradient(case.model, gamma, start.numpy())
    for i, part in enumerate(exact):
        np.testing.assert_allclose(found[i, : part.shape[0], : part.shape[1]], part, **CLOSE)
    assert norm({"theta": found}) == pytest.approx(math.sqrt(sum(float((part**2).sum()) for part in exact)))
    if method == "dense" and gamma < 0.9:
        differences = discounted_oracle.finite_difference_gradient(case.model, gamma, start.numpy())
        for i, part in enumerate(differences):
            np.testing.assert_allclose(found[i, : part.shape[0], : part.shape[1]], part, rtol=0.0, atol=1e-8)


@every_case
@pytest.mark.parametrize("kind", [TabularSoftmax, StateIndependentSoftmax, NeuralPolicy])
def test_both_ways_to_the_gradient_agree(case: Case, kind: type) -> None:
    """By the occupancy, and by autograd through the linear system, for every kind of policy; replica 1 of 2."""
    policy = randomized(kind(case.env, replicas=2), seed=1)
    chain = Chain(case.env, policy, replica=1)
    ours = discounted_gradient(chain, 0.9, start_of(case))
    autograd = discounted_gradient_by_autograd(chain, 0.9, start_of(case))
    assert list(ours) == list(autograd) == [name for name, _ in policy.named_parameters()]
    for name, parameter in policy.named_parameters():
        assert ours[name].shape == parameter.shape[1:]
        np.testing.assert_allclose(ours[name], autograd[name], **CLOSE)
    assert norm(ours) > 1e-6


def measured(case: Case, kind: str) -> tuple[torch.Tensor | None, list[Callable[[oracle.Pair], float]]]:
    """Weights of (5), as the library takes them and as the oracle does."""
    pairs, n, draw = oracle.all_pairs(case.model), case.env.n, np.random.default_rng(2)
    table = {
        "random-per-agent": draw.random((n, len(pairs))),
        "one-point": np.eye(len(pairs))[[len(pairs) // 2] * n],
    }[kind]
    return torch.from_numpy(table), [dict(zip(pairs, row, strict=True)).__getitem__ for row in table]


@in_oracle_coordinates
@pytest.mark.parametrize("gamma", [0.0, 0.9])
@pytest.mark.parametrize("kind", ["occupancy", "random-per-agent", "one-point"])
def test_truncation_5_and_7(case: Case, gamma: float, kind: str) -> None:
    start, joint = start_of(case), joint_of(case, gamma)
    if kind == "occupancy":
        occupancy = discounted_oracle.occupancy(case.model, gamma, start.numpy())
        ours, row = None, dict(zip(oracle.all_pairs(case.model), occupancy, strict=True))
        written = [row.__getitem__] * case.env.n
    else:
        ours, written = measured(case, kind)
    for kappa in range(case.env.n):
        tilde = discounted_oracle.truncated_q(case.model, gamma, kappa, written)
        np.testing.assert_allclose(truncated_q(joint, kappa, ours), tilde, **CLOSE)
        h = approximate_gradient(joint, kappa, ours)["theta"]
        for i, part in enumerate(discounted_oracle.approximate_gradient(case.model, gamma, start.numpy(), kappa, tilde)):
            np.testing.assert_allclose(h[i, : part.shape[0], : part.shape[1]], part, rtol=0.0, atol=1e-9)


@every_case
def test_the_whole_network_gives_the_gradient_itself(case: Case) -> None:
    for name, h in approximate_gradient(joint_of(case, 0.9), case.env.n).items():
        np.testing.assert_allclose(h, discounted_gradient(case.chain("dense"), 0.9, start_of(case))[name], **CLOSE)


def first(case: Case, kappa: int) -> int:
    """The first t at which r_i can tell z from z' that agree on N_i^kappa."""
    return kappa + 1 if case.env.private_rewards else kappa


@every_case
@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.9])
def test_corollary_1_decay(case: Case, gamma: float) -> None:
    """The left side of (4) exactly; below the certificate and below span(r_i) gamma^first / (1 - gamma)."""
    joint, promised = joint_of(case, gamma), certificate(case.joint.chain.laws, kappas=case.env.n, gamma=gamma).bounds
    assert promised is not None
    for i in range(case.env.n):
        found = worst_decay(joint, i)
        for kappa in range(case.env.n):
            exact = discounted_oracle.worst_left_side(case.model, gamma, i, kappa)
            assert float(found[kappa]) == pytest.approx(exact, abs=1e-11)
            alone = oracle.reward_span(case.model, i) * gamma ** first(case, kappa) / (1 - gamma)
            assert exact <= float(promised[kappa, i]) + 1e-11
            assert exact <= alone + 1e-11


@every_case
@discounts
@pytest.mark.parametrize("kind", ["random-per-agent", "one-point"])
def test_corollary_1_error_of_truncated_q(case: Case, gamma: float, kind: str) -> None:
    """Lemma 2(a): |Qtilde_i - Q_i| <= the largest left side of (4) <= span(r_i) gamma^first / (1 - gamma)."""
    joint, (weights, _) = joint_of(case, gamma), measured(case, kind)
    for kappa in range(case.env.n):
        error = (truncated_q(joint, kappa, weights) - joint.q).abs().amax(dim=0)
        for i in range(case.env.n):
            assert error[i] <= worst_decay(joint, i)[kappa] + 1e-11
            assert error[i] <= oracle.reward_span(case.model, i) * gamma ** first(case, kappa) / (1 - gamma) + 1e-11


@in_oracle_coordinates
@discounts
@pytest.mark.parametrize("kind", ["occupancy", "random-per-agent", "one-point"])
def test_lemma_2b_discounted(case: Case, gamma: float, kind: str) -> None:
    """||h_i - grad_i J^gamma|| <= L_i / (1 - gamma) (1/n) sum_j b_j; b_j measured, certified, and by discounting alone.

    L_i = sqrt(2) for a tabular softmax; the occupancy has mass 1 / (1 - gamma), whence a second such factor.
    """
    joint, weights = joint_of(case, gamma), None if kind == "occupancy" else measured(case, kind)[0]
    exact = discounted_gradient(case.chain("dense"), gamma, start_of(case))["theta"]
    promised = certificate(case.joint.chain.laws, kappas=case.env.n, gamma=gamma).bounds
    assert promised is not None
    span = max(oracle.reward_span(case.model, i) for i in range(case.env.n))
    for kappa in range(case.env.n):
        error = (approximate_gradient(joint, kappa, weights)["theta"] - exact).flatten(1).norm(dim=1).max()
        left = torch.stack([worst_decay(joint, j)[kappa] for j in range(case.env.n)])
        for bounds in (left, promised[kappa]):
            assert error <= math.sqrt(2) / (1 - gamma) * bounds.mean() + 1e-11
        assert error <= math.sqrt(2) * span * gamma ** first(case, kappa) / (1 - gamma) ** 2 + 1e-11


def test_how_tight_corollary_1_and_lemma_2_are() -> None:
    """On the weak line with gamma = 0.9: (a) within a factor 4 of the certificate. At kappa = 2 (7) is the gradient."""
    case, gamma = WEAK[0], 0.9
    joint, promised = joint_of(case, gamma), certificate(case.joint.chain.laws, gamma=gamma).bounds
    assert promised is not None
    exact = discounted_gradient(case.chain("dense"), gamma, start_of(case))["theta"]
    span = max(oracle.reward_span(case.model, i) for i in range(4))
    for kappa in range(2):
        left = max(float(worst_decay(joint, j)[kappa]) for j in range(4))
        error = float((approximate_gradient(joint, kappa)["theta"] - exact).flatten(1).norm(dim=1).max())
        certified, bound = float(promised[kappa].max()), float(promised[kappa].mean()) * math.sqrt(2) / (1 - gamma)
        alone = span * gamma ** (kappa + 1) / (1 - gamma)
        print(
            f"\nkappa = {kappa}: left side {left:.3g}, certified {certified / left:.3g} x, discounting {alone / left:.3g} x"
        )
        print(f"gradient off by {error:.3g}, bound {bound / error:.3g} x")
        assert left <= certified < 4 * left < alone
        assert error <= bound


def copying(private_rewards: bool) -> Chain:
    """Four in a line: s_i' = s_{i+1}, the last keeps its own; r_i = s_i, or s_{i+1}. Two recurrent classes."""
    network, laws, rewards = Network.line(4), [], []
    for i in range(4):
        near = [j for j in (i - 1, i, i + 1) if 0 <= j < 4]
        copied = np.indices([2] * len(near))[near.index(min(i + 1, 3))]
        laws.append(np.eye(2)[copied][..., None, :])
        shared = copied.astype(float).reshape([size for _ in near for size in (2, 1)])
        rewards.append(np.array([[0.0], [1.0]]) if private_rewards else shared)
    env = LocalMDP(network, laws, rewards)
    return Chain(env, Uniform(env))


@both_private_and_shared
@pytest.mark.parametrize("gamma", [0.0, 0.5, 0.99])
def test_corollary_1_is_attained_by_agents_that_copy(private_rewards: bool, gamma: float) -> None:
    """gamma^(kappa + 1) / (1 - gamma) where r_i sees z_i; the larger gamma^kappa / (1 - gamma) where it sees z_{N_i}."""
    chain = copying(private_rewards)
    assert chain.env.private_rewards == private_rewards
    s, a = torch.tensor([[0] * 4, [1] * 4]), torch.zeros(2, 4, dtype=torch.int64)
    found = decay_curve(DiscountedValues(chain, gamma), 0, s, a)
    kappa = torch.arange(3, dtype=torch.float64)
    expected = gamma ** (kappa + 1 if private_rewards else kappa) / (1 - gamma)
    np.testing.assert_allclose(found[:3], expected, rtol=1e-12, atol=1e-12)
    assert found[3] == 0.0
    np.testing.assert_allclose(found, certificate(chain.laws, [0], gamma=gamma).bounds[:, 0], rtol=1e-12, atol=1e-12)  # type: ignore[index]


@every_case
@both_routes
def test_gamma_0_is_the_immediate_reward(case: Case, method: str) -> None:
    chain, start = case.chain(method), start_of(case)
    values = DiscountedValues(chain, 0.0, start)
    np.testing.assert_allclose(values.q(*case.pairs), oracle.rewards(case.model), **CLOSE)
    np.testing.assert_allclose(values.V, chain.rewards(), **CLOSE)
    np.testing.assert_allclose(values.occupancy, start, **CLOSE)
    if case.is_softmax:
        found = discounted_gradient(chain, 0.0, start)["theta"]
        for i, part in enumerate(discounted_oracle.finite_difference_gradient(case.model, 0.0, start.numpy())):
            np.testing.assert_allclose(found[i, : part.shape[0], : part.shape[1]], part, rtol=0.0, atol=1e-8)


@every_case
def test_gamma_to_1_is_the_average_reward(case: Case) -> None:
    """(1 - gamma) J^gamma -> J, its next term is (1 - gamma) E_start V_i; differences of Q_i and the gradient follow.

    Each is off by O(1 - gamma): a 128th of the distance leaves a 100th at most.
    """
    average, start = AverageValues(case.chain("dense")), start_of(case)
    q = average.q(*case.pairs)
    distances = []
    for away in (2.0**-10, 2.0**-17):  # such that 1 - gamma is exact
        chain = case.chain("dense")
        values = DiscountedValues(chain, 1.0 - away, start)
        first, second = values.J * away - average.J, values.J - average.J / away - start @ average.V
        relative = values.relative_q(*case.pairs)
        shape = (relative - relative[0]) - (q - q[0])
        ours, theirs = discounted_gradient(chain, 1.0 - away, start), gradient(chain)
        slope = norm({name: away * part - theirs[name] for name, part in ours.items()})
        distances.append([float(first.abs().max()), float(second.abs().max()), float(shape.abs().max()), slope])
    for far, near in zip(*distances, strict=True):
        assert near <= far / 100 + 1e-9


def test_differences_of_q_lose_no_digits_near_gamma_1() -> None:
    """At gamma = 1 - 1e-9 J^gamma is 10^9 J, and left sides of (4) are still those of the average reward."""
    case = WEAK[0]
    joint = discounted_pairs(case.chain("dense"), 1.0 - 1e-9)
    values = joint.values
    s, a = case.pairs[0][[0, -1]], case.pairs[1][[0, -1]]
    for i in range(case.env.n):
        near, exact = (decay_curve(v, i, s, a) for v in (values, AverageValues(case.chain("dense"))))
        np.testing.assert_allclose(near, exact, rtol=1e-7, atol=1e-13)


def test_several_recurrent_classes_are_no_obstacle() -> None:
    """V_0 of four copying agents that start in 1, 0, 1, 1 is 1 + gamma^2 + gamma^3 + ... by both routes."""
    for method in ("dense", "free"):
        chain = copying(True)
        chain = Chain(chain.env, chain.policy, method=method)
        start = torch.zeros(16, dtype=torch.float64)
        start[0b1011] = 1.0
        values = DiscountedValues(chain, 0.9, start)
        assert float(values.J[0]) == pytest.approx(1 + 0.9**2 / (1 - 0.9))
        assert float(values.occupancy[0b1111]) == pytest.approx(0.9**2 / (1 - 0.9))


def test_a_chain_beyond_the_dense_limit() -> None:
    """Thirteen agents, 8192 joint states: the values of a long simulation's mean are not needed, Bellman's equation is."""
    env = random_local_mdp("line:13", interaction=0.3)
    chain = Chain(env, RandomTable(env))
    assert chain.method == "free"
    values = DiscountedValues(chain, 0.95, agents=[0, 6])
    right = chain.rewards([0, 6]) + 0.95 * chain.expect(values.V.numpy())
    np.testing.assert_allclose(values.V, right, **CLOSE)
    visits = values.occupancy.numpy()[:, None]
    np.testing.assert_allclose(visits, 1 / 8192 + 0.95 * chain.push(visits), **CLOSE)
    assert float(visits[:, 0] @ chain.rewards([0])[:, 0]) == pytest.approx(float(values.J[0]), rel=1e-12)


def test_a_slow_chain_is_solved_directly_where_that_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    case = next(case for case in CASES if case.name == "periodic")
    exact = DiscountedValues(case.chain("dense"), 1 - 1e-7)
    monkeypatch.setattr(poisson, "MOST_ITERATIONS", 100)
    monkeypatch.setattr("marl.exact.chain.DENSE_STATES", 0)
    for compute in (lambda values: values.V, lambda values: values.occupancy):
        chain = case.chain("auto")
        assert chain.method == "free"
        np.testing.assert_allclose(compute(DiscountedValues(chain, 1 - 1e-7)), compute(exact), rtol=1e-12)
        assert chain.method == "dense"


Refused = tuple[str, Callable[[], object]]
REFUSED: list[Refused] = [
    (r"gamma must be below 1.*`AverageValues`", lambda: DiscountedValues(WEAK[0].chain("dense"), 1.0)),
    (r"gamma must be a finite number in \[0, 1\], got -0.1", lambda: discounted_gradient(WEAK[0].chain("dense"), -0.1)),
    (r"gamma must be .* got nan", lambda: discounted_gradient_by_autograd(WEAK[0].chain("dense"), math.nan)),
    (
        r"start must be a law over the 16 .* shape \[15\]",
        lambda: discounted_pairs(WEAK[0].chain("dense"), 0.5, torch.ones(15)),
    ),
    (r"start must be a law .* sum 16", lambda: discounted_gradient(WEAK[0].chain("dense"), 0.5, torch.ones(16))),
    (r"start must be a law", lambda: DiscountedValues(WEAK[0].chain("dense"), 0.5, torch.full((16,), torch.nan))),
    (r"start must be a law", lambda: DiscountedValues(WEAK[0].chain("dense"), 0.5, torch.tensor([-1.0, 2.0] + [0.0] * 14))),
    ("there is no agent 4", lambda: DiscountedValues(WEAK[0].chain("dense"), 0.5, agents=[4])),
    ("gamma is too near 1 for a chain that mixes so slowly", lambda: DiscountedValues(periodic_iterated(), 1 - 1e-7)),
    ("agent 0 cannot be in state 0 and take action 2", lambda: DiscountedValues(WEAK[0].chain("dense"), 0.5).q(*illegal())),
    ("8192 joint states would take 0.5 GiB", lambda: discounted_gradient_by_autograd(thirteen(), 0.5)),
    ("joint pairs are too many", lambda: discounted_pairs(thirteen(), 0.5)),
]


def periodic_iterated() -> Chain:
    return next(case for case in CASES if case.name == "periodic").chain("free")


def illegal() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.zeros(1, 4, dtype=torch.int64), torch.tensor([[2, 0, 0, 0]])


def thirteen() -> Chain:
    env = random_local_mdp("line:13")
    return Chain(env, Uniform(env))


@pytest.mark.parametrize(("words", "call"), REFUSED, ids=[words for words, _ in REFUSED])
def test_refused(words: str, call: Callable[[], object]) -> None:
    with pytest.raises(ConfigError, match=words):
        call()
