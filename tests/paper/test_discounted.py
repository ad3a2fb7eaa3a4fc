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
    Chain,
    DiscountedValues,
    JointPairs,
    Values,
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
from tests.paper.instances import CASES, WEAK, Case, every_case, in_oracle_coordinates, randomised, weak_cases

CLOSE = {"rtol": 0.0, "atol": 1e-10}
discounts = pytest.mark.parametrize("gamma", [0.0, 0.3, 0.9])
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
    np.testing.assert_allclose(joint_of(case, gamma).stationary, exact, **CLOSE)
    values = DiscountedValues(case.chain(method), gamma, start_of(case))
    by_state = np.zeros(values.chain.num_states)
    for (s, _), weight in zip(oracle.all_pairs(case.model), exact, strict=True):
        by_state[oracle.all_states(case.model).index(s)] += weight
    np.testing.assert_allclose(values.stationary, by_state, **CLOSE)
    assert float(values.stationary.sum()) == pytest.approx(1 / (1 - gamma))


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
@discounts
@pytest.mark.parametrize("kind", [TabularSoftmax, StateIndependentSoftmax, NeuralPolicy])
def test_both_ways_to_the_gradient_agree(case: Case, gamma: float, kind: type) -> None:
    """By the occupancy, and by autograd through the linear system, for every kind of policy; replica 1 of 2."""
    policy = randomised(kind(case.env, replicas=2), seed=1)
    chain = Chain(case.env, policy, replica=1)
    ours = discounted_gradient(chain, gamma, start_of(case))
    autograd = discounted_gradient_by_autograd(chain, gamma, start_of(case))
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
        for i, part in enumerate(
            discounted_oracle.approximate_gradient(case.model, gamma, start.numpy(), kappa, tilde)
        ):
            np.testing.assert_allclose(h[i, : part.shape[0], : part.shape[1]], part, rtol=0.0, atol=1e-9)


@every_case
def test_the_whole_network_gives_the_gradient_itself(case: Case) -> None:
    for name, h in approximate_gradient(joint_of(case, 0.9), case.env.n).items():
        np.testing.assert_allclose(h, discounted_gradient(case.chain("dense"), 0.9, start_of(case))[name], **CLOSE)


def first(case: Case, kappa: int) -> int:
    """The first t at which r_i can tell z from z' that agree on N_i^kappa."""
    return kappa + 1 if case.env.private_rewards else kappa


@every_case
@discounts
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
@pytest.mark.parametrize("gamma", [0.3, 0.9])
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
    """||h_i - grad_i J^gamma|| <= L_i / (1 - gamma) (1/n) sum_j b_j, with b_j measured, certified, and by discounting alone.

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


def test_how_tight_lemma_2_is() -> None:
    """On the weak line, gamma = 0.9, kappa = 0: the ratios of bound to error that are printed."""
    case, gamma = WEAK[0], 0.9
    joint, promised = joint_of(case, gamma), certificate(case.joint.chain.laws, gamma=gamma).bounds
    assert promised is not None
    exact = discounted_gradient(case.chain("dense"), gamma, start_of(case))["theta"]
    span = max(oracle.reward_span(case.model, i) for i in range(4))
    for kappa in range(3):
        left = max(float(worst_decay(joint, j)[kappa]) for j in range(4))
        error = float((approximate_gradient(joint, kappa)["theta"] - exact).flatten(1).norm(dim=1).max())
        b = float(promised[kappa].mean()) * math.sqrt(2) / (1 - gamma)
        alone = span * gamma ** (kappa + 1) / (1 - gamma)
        certified = float(promised[kappa].max())
        print(f"\nkappa {kappa}: left side {left:.3g}, certified {certified:.3g} ({certified / left:.3g} x), by discounting")
        print(f"alone {alone:.3g} ({alone / left:.3g} x); gradient off by {error:.3g}, bound {b:.3g} ({b / error:.3g} x)")
    left = max(float(worst_decay(joint, j)[0]) for j in range(4))
    assert float(promised[0].max()) < 4 * left


def copying(private_rewards: bool, n: int = 4) -> Chain:
    """s_i' = s_{i+1}, the last keeps its own; r_i = s_i, or s_{i+1}. As many recurrent classes as the last has states."""
    network, law, paid = Network.line(n), [], []
    for i in range(n):
        members = [j for j in (i - 1, i, i + 1) if 0 <= j < n]
        seen = members.index(min(i + 1, n - 1))
        shape = [2] * len(members)
        of_seen = np.broadcast_to(np.eye(2).reshape([2 if k == seen else 1 for k in range(len(shape))] + [2]), [*shape, 2])
        own = members.index(i)
        law.append(np.expand_dims(of_seen, own + 1))
        paid.append(np.array([[0.0], [1.0]]) if private_rewards else _of_neighbor(members, seen))
    env = LocalMDP(network, law, paid)
    return Chain(env, Uniform(env))


def _of_neighbor(members: list[int], seen: int) -> np.ndarray:
    table = np.arange(2.0).reshape([2 if k == seen else 1 for k in range(len(members))])
    return np.broadcast_to(table, [2] * len(members)).reshape([size for _ in members for size in (2, 1)])
