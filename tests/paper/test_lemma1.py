"""Lemma 1: grad J = E_pi[Q(s, a) grad log zeta(a|s)], against brute force, differences and autograd."""

import numpy as np
import pytest
import torch

from marl.exact import gradient, gradient_by_autograd, marginal_q, norm
from marl.policies import NeuralPolicy, RandomTable, StateIndependentSoftmax, TabularSoftmax
from tests.paper import oracle
from tests.paper.instances import CASES, WEAK, Case, every_case, randomized

CLOSE = {"rtol": 0.0, "atol": 1e-10}
TABULAR = [case for case in CASES + WEAK if isinstance(case.policy, TabularSoftmax)]
tabular_cases = pytest.mark.parametrize("case", TABULAR, ids=lambda case: case.name)
both_routes = pytest.mark.parametrize("method", ["dense", "free"])


def by_agent(case: Case, theta: torch.Tensor) -> list[np.ndarray]:
    """A gradient in theta [n, S, A] as the oracle writes it; it must vanish at padding."""
    sizes = [oracle.policy_gradient(case.model)[i].shape for i in range(case.env.n)]
    for i, (states, actions) in enumerate(sizes):
        assert not theta[i, states:].any()
        assert not theta[i, :, actions:].any()
    return [theta[i, :states, :actions].numpy() for i, (states, actions) in enumerate(sizes)]


@tabular_cases
@both_routes
def test_lemma_1(case: Case, method: str) -> None:
    found = gradient(case.chain(method))
    assert list(found) == ["theta"]
    for mine, exact in zip(by_agent(case, found["theta"]), oracle.policy_gradient(case.model), strict=True):
        np.testing.assert_allclose(mine, exact, **CLOSE)


@tabular_cases
def test_it_is_the_derivative_of_j(case: Case) -> None:
    found = by_agent(case, gradient(case.chain("dense"))["theta"])
    for mine, difference in zip(found, oracle.finite_difference_gradient(case.model), strict=True):
        np.testing.assert_allclose(mine, difference, rtol=0.0, atol=1e-7)
    exact = np.concatenate([part.ravel() for part in oracle.policy_gradient(case.model)])
    assert norm(gradient(case.chain("dense"))) == pytest.approx(np.linalg.norm(exact))


@every_case
@pytest.mark.parametrize("kind", [TabularSoftmax, StateIndependentSoftmax, NeuralPolicy])
def test_both_ways_agree_for_every_kind_of_policy(case: Case, kind: type) -> None:
    """Lemma 1 through the chain rule, and the derivative of the linear system for J; replica 1 of 2."""
    policy = randomized(kind(case.env, replicas=2), seed=1)
    other = Case("", lambda: case.env, lambda env: policy, 1)
    ours, autograd = gradient(other.chain("free")), gradient_by_autograd(other.chain("dense"))
    assert list(ours) == list(autograd) == [name for name, _ in policy.named_parameters()]
    for name, parameter in policy.named_parameters():
        assert ours[name].shape == parameter.shape[1:]
        np.testing.assert_allclose(ours[name], autograd[name], **CLOSE)
    assert norm(ours) > 1e-6 or case.name == "transient-states"


@every_case
def test_chain_rule_by_hand(case: Case) -> None:
    """For zeta_i(a|s) with theta_i[a] shared by all states, grad_i J[a] is the sum over s of the tabular one."""
    policy = randomized(StateIndependentSoftmax(case.env))
    other = Case("", lambda: case.env, lambda env: policy, 0)
    found = gradient(other.chain("dense"))["theta"]
    for i, exact in enumerate(oracle.policy_gradient(other.model)):
        np.testing.assert_allclose(found[i, : exact.shape[1]], exact.sum(axis=0), **CLOSE)


@every_case
def test_marginal_q(case: Case) -> None:
    """G_i(x, b) = sum over z with (s_i, a_i) = (x, b) of pi(z) / zeta_i(b|x) Q(z)."""
    weighted = oracle.stationary_pairs(case.model) * oracle.q(case.model).mean(axis=1)
    for i, found in enumerate(marginal_q(case.chain("free"))):
        exact = np.zeros_like(found)
        for (s, a), part in zip(oracle.all_pairs(case.model), weighted, strict=True):
            zeta = case.model.policy[i][s[i]][a[i]]
            exact[s[i], a[i]] += part / zeta if zeta > 0 else np.nan
        assert ((exact == 0) | np.isfinite(exact)).all()
        np.testing.assert_allclose(found, exact, **CLOSE)


def test_replicas_have_gradients_of_their_own() -> None:
    case = CASES[1]
    first, second = (gradient(Case("", lambda: case.env, lambda env: case.policy, k).chain("dense")) for k in (0, 1))
    assert (first["theta"] - second["theta"]).abs().max() > 1e-3
    assert case.policy.get_parameter("theta").grad is None


def test_a_policy_without_parameters_has_an_empty_gradient() -> None:
    env = CASES[1].env
    chain = Case("", lambda: env, RandomTable, 0).chain("dense")
    assert gradient(chain) == gradient_by_autograd(chain) == {}
    assert norm(gradient(chain)) == 0.0
