"""Theorem 1 and Lemma 4: C, and what it promises about (4) for every policy."""

import numpy as np
import pytest

from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs import LocalMDP, random_local_mdp
from marl.exact import LocalLaws, certificate, interaction_matrix, reward_variation
from tests.paper import oracle
from tests.paper.instances import CASES, WEAK, Case, every_case, softmax, weak_cases


@every_case
@pytest.mark.parametrize("form", ["z", "paper"])
def test_interaction_matrix(case: Case, form: str) -> None:
    laws = LocalLaws(case.env)
    if form == "paper" and not oracle.has_private_actions(case.model):
        with pytest.raises(ValueError, match="private actions"):
            oracle.interaction_matrix(case.model, form)
        with pytest.raises(ConfigError, match="Theorem 1 does not apply"):
            certificate(laws, form=form)
    elif form == "z" or case.env.private_actions:
        found = interaction_matrix(laws, form)
        exact = oracle.interaction_matrix(case.model, form)
        np.testing.assert_allclose(found.dense(), exact, rtol=0.0, atol=1e-12)
        np.testing.assert_allclose(found.transposed().dense(), exact.T, rtol=0.0, atol=1e-12)
        np.testing.assert_allclose(found.row_sums(), exact.sum(axis=1), rtol=0.0, atol=1e-12)


@every_case
def test_reward_variation(case: Case) -> None:
    found = reward_variation(LocalLaws(case.env)).dense()
    exact = [[oracle.reward_variation(case.model, i, j) for j in range(case.env.n)] for i in range(case.env.n)]
    np.testing.assert_allclose(found, exact, rtol=0.0, atol=1e-12)


@every_case
def test_lemma_4_agent_by_agent(case: Case) -> None:
    """The tail where the spectral radius is below 1; nothing elsewhere."""
    exact = oracle.interaction_matrix(case.model, "z")
    found = certificate(LocalLaws(case.env), kappas=case.env.n)
    radius = float(max(abs(np.linalg.eigvals(exact))))
    assert found.certified == (radius < 1 - 1e-9)
    assert found.radius >= radius - 1e-12
    assert found.row_sum == pytest.approx(exact.sum(axis=1).max())
    if found.bounds is None:
        assert "could not be shown to be below 1" in found.reason
        assert found.kappa_for(1e9) is None
        return
    assert found.radius == pytest.approx(radius, rel=0.05)
    for i in range(case.env.n):
        for kappa in range(case.env.n):
            tail = oracle.tail_bound(case.model, exact, i, kappa)
            assert float(found.bounds[kappa, i]) == pytest.approx(tail, rel=1e-9, abs=1e-14)
            assert oracle.worst_left_side(case.model, i, kappa) <= float(found.bounds[kappa, i]) + 1e-12


@weak_cases
def test_theorem_1_rate_and_constant(case: Case) -> None:
    """c rho^(kappa+1) with c = span / (1 - rho) where rewards are private; Lemma 4 is never worse."""
    found = certificate(LocalLaws(case.env), kappas=case.env.n)
    if not case.env.private_rewards:
        assert found.rate is None
        assert found.constant is None
        return
    rho = oracle.interaction_matrix(case.model, "z").sum(axis=1).max()
    span = max(oracle.reward_span(case.model, i) for i in range(case.env.n))
    assert found.rate == pytest.approx(rho)
    assert found.constant == pytest.approx(span / (1 - rho))
    assert found.bounds is not None
    for kappa in range(case.env.n):
        assert (found.bounds[kappa] <= span / (1 - rho) * rho ** (kappa + 1) + 1e-12).all()
    first = next(k for k in range(case.env.n) if float(found.bounds[k].max()) <= 0.1)
    assert found.kappa_for(0.1) == first


def test_some_agents_and_radii() -> None:
    laws = LocalLaws(WEAK[0].env)
    whole, some = certificate(laws), certificate(laws, [3, 1], kappas=2)
    assert whole.bounds is not None
    assert some.bounds is not None
    assert whole.agents == [0, 1, 2, 3]
    assert whole.bounds.shape == (4, 4)  # the ends have eccentricity 3
    np.testing.assert_array_equal(some.bounds, whole.bounds[:2, [3, 1]])
    assert certificate(laws, [1]).bounds.shape == (3, 1)  # type: ignore[union-attr]


def hub() -> LocalMDP:
    """0 - 1 - 2 with C = [[0, a, 0], [b, 0, b], [0, a, 0]], a = 0.1, b = 0.6: row sum 1.2, spectral radius 0.35."""
    leaf = np.array([[0.45, 0.55], [0.55, 0.45]])  # by s_1
    laws = [
        np.broadcast_to(leaf[None, :, None, :], (2, 2, 1, 2)),
        np.array([[[[0.9, 0.1]], [[0.3, 0.7]]], [[[0.3, 0.7]], [[0.9, 0.1]]]])[:, None].repeat(2, axis=1),
        np.broadcast_to(leaf[:, None, None, :], (2, 2, 1, 2)),
    ]
    return LocalMDP(Network.line(3), laws, [np.array([[0.0], [1.0]])] * 3)


def test_spectral_radius_is_weaker_than_row_sums() -> None:
    case = Case("", hub, softmax, 0)
    np.testing.assert_allclose(
        oracle.interaction_matrix(case.model, "z"), [[0, 0.1, 0], [0.6, 0, 0.6], [0, 0.1, 0]], atol=1e-12
    )
    found = certificate(LocalLaws(case.env))
    assert found.row_sum == pytest.approx(1.2)
    assert found.radius == pytest.approx(0.12**0.5)
    assert found.rate is None
    assert found.bounds is not None
    # by hand: C e_0 = (0, b, 0), C^2 e_0 = ab (1, 0, 1), so agent 1 at kappa = 0: 2b + 2ab 2b + ... = 1.2 / (1 - 0.12)
    assert float(found.bounds[0, 1]) == pytest.approx(1.2 / 0.88)
    test_lemma_4_agent_by_agent(case)


def test_parts_of_a_network_do_not_spoil_one_another() -> None:
    """An agent by itself, or one that nobody influences: bounds of the others stay what they are without it."""
    draw = np.random.default_rng(0)
    line = random_local_mdp("line:12", 2, 2, interaction=0.3)
    tables = line.as_tables()
    alone = draw.dirichlet(np.ones(2), size=(2, 2)) * 0.02 + 0.49
    both = LocalMDP(Network.from_edges(13, line.network.edges), [*tables[0], alone], [*tables[1], np.eye(2)])
    without, with_it = certificate(LocalLaws(line)), certificate(LocalLaws(both))
    assert without.bounds is not None
    assert with_it.bounds is not None
    np.testing.assert_allclose(with_it.bounds[:, :12], without.bounds, rtol=1e-9, atol=1e-15)
    assert not with_it.bounds[:, 12].any()


def test_instances_have_both_answers() -> None:
    """The instances test both answers."""
    answers = [certificate(LocalLaws(case.env)).certified for case in CASES]
    assert any(answers)
    assert not all(answers)
    assert all(certificate(LocalLaws(case.env)).certified for case in WEAK)
