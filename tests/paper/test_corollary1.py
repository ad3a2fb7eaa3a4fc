"""Corollary 1: with discount gamma the rate is gamma rho; and decay by discounting alone."""

import numpy as np
import pytest

from marl.core.errors import ConfigError
from marl.exact import LocalLaws, certificate, interaction_matrix
from tests.paper import oracle
from tests.paper.instances import CASES, WEAK, Case, every_case, weak_cases

discounts = pytest.mark.parametrize("gamma", [0.0, 0.3, 0.9])


def worst_discounted(case: Case, i: int, kappa: int, gamma: float) -> float:
    """The largest left side of (4) for the discounted Q of (12)."""
    groups: dict[oracle.Part, list[float]] = {}
    q = oracle.discounted_q(case.model, gamma)[:, i]
    for z, value in zip(oracle.all_pairs(case.model), q, strict=True):
        groups.setdefault(oracle.part(z, oracle.hops(case.model, i, kappa)), []).append(float(value))
    return max(max(group) - min(group) for group in groups.values())


@every_case
@discounts
def test_bounds_hold_certified_or_not(case: Case, gamma: float) -> None:
    found = certificate(LocalLaws(case.env), kappas=case.env.n, gamma=gamma)
    assert found.bounds is not None  # discounting alone is enough
    for i in range(case.env.n):
        for kappa in range(case.env.n):
            assert worst_discounted(case, i, kappa, gamma) <= float(found.bounds[kappa, i]) + 1e-12


@every_case
@discounts
def test_bounds_are_the_smaller_of_the_two(case: Case, gamma: float) -> None:
    """Lemma 4 with gamma^t, and span(r_i) sum_t gamma^t from the first t at which r_i can differ."""
    found = certificate(LocalLaws(case.env), kappas=case.env.n, gamma=gamma)
    C = oracle.interaction_matrix(case.model, "z")  # noqa: N806
    for i in range(case.env.n):
        reach = int(case.env.network.distances(i).max())
        for kappa in range(case.env.n):
            first = kappa + 1 if case.env.private_rewards else kappa
            alone = oracle.reward_span(case.model, i) * gamma**first / (1 - gamma) if kappa < reach else 0.0
            tail = oracle.tail_bound(case.model, gamma * C, i, kappa)
            assert float(found.bounds[kappa, i]) == pytest.approx(min(alone, tail), rel=1e-9, abs=1e-14)  # type: ignore[index]


@weak_cases
@discounts
def test_corollary_1_rate_and_constant(case: Case, gamma: float) -> None:
    found = certificate(LocalLaws(case.env), kappas=case.env.n, gamma=gamma)
    rho = float(interaction_matrix(LocalLaws(case.env)).row_sums().max())
    assert found.row_sum == pytest.approx(gamma * rho)
    if not case.env.private_rewards:
        assert found.rate is None
        return
    span = max(oracle.reward_span(case.model, i) for i in range(case.env.n))
    assert found.rate == pytest.approx(gamma * rho)
    assert found.constant == pytest.approx(span / (1 - gamma * rho))
    worst = [max(worst_discounted(case, i, k, gamma) for i in range(case.env.n)) for k in range(case.env.n)]
    rate = gamma * rho
    assert (np.array(worst) <= span / (1 - rate) * rate ** (np.arange(case.env.n) + 1) + 1e-12).all()


def test_reasons() -> None:
    ring = next(case for case in CASES if case.name == "ring-shared-both")
    assert "discounting alone: gamma = 0.9" in certificate(LocalLaws(ring.env), gamma=0.9).reason
    assert "every row sum of 0.9 C" in certificate(LocalLaws(WEAK[0].env), gamma=0.9).reason
    assert not certificate(LocalLaws(ring.env), gamma=1.0).certified


def test_gamma_1_is_the_average_reward() -> None:
    laws = LocalLaws(WEAK[0].env)
    np.testing.assert_array_equal(certificate(laws, gamma=1.0).bounds, certificate(laws).bounds)
    for gamma in (-0.1, 1.1, float("nan")):
        with pytest.raises(ConfigError, match="gamma"):
            certificate(laws, gamma=gamma)
