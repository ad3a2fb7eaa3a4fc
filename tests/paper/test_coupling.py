"""Section 2, several steps at once: D^(T) of the coupling, and the certificate that it gives for one policy."""

import numpy as np
import pytest

from marl.core.errors import ConfigError
from marl.envs import random_local_mdp
from marl.exact import LocalLaws, certificate, coupling_certificate, disagreement, interaction_matrix
from tests.paper import oracle
from tests.paper.instances import CASES, WEAK, Case, every_case, softmax

SMALL = [case for case in CASES + WEAK if len(oracle.all_pairs(case.model)) <= 36]
SMALL += [Case("line-tiny", lambda: random_local_mdp("line:3", 2, [1, 2, 1], "dirichlet", instance_seed=1), softmax, 0)]
small_cases = pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)


@small_cases
def test_disagreement(case: Case) -> None:
    """D^(1), D^(2), D^(3) against two copies of the whole chain."""
    found = disagreement(LocalLaws(case.env), case.chain("dense").tables, 3)
    assert len(found) == 3
    for steps, matrix in enumerate(found, start=1):
        exact = oracle.coupled_disagreement(case.model, steps)
        np.testing.assert_allclose(matrix.dense(), exact, rtol=0.0, atol=1e-12)


@every_case
def test_one_step_is_c(case: Case) -> None:
    laws = LocalLaws(case.env)
    (found,) = disagreement(laws, case.chain("dense").tables, 1)
    np.testing.assert_allclose(found.dense(), interaction_matrix(laws).dense(), rtol=0.0, atol=1e-12)


@every_case
@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_bounds_hold_for_this_policy(case: Case, horizon: int) -> None:
    found = coupling_certificate(LocalLaws(case.env), case.chain("dense").tables, horizon=horizon, kappas=case.env.n)
    if found.bounds is None:
        assert "could not be shown to be below 1" in found.reason
        return
    assert f"the {horizon}-step disagreement matrix" in found.reason
    for i in range(case.env.n):
        for kappa in range(case.env.n):
            assert oracle.worst_left_side(case.model, i, kappa) <= float(found.bounds[kappa, i]) + 1e-12


@small_cases
@pytest.mark.parametrize("horizon", [1, 2, 3])
def test_the_bound_is_the_sum_over_blocks(case: Case, horizon: int) -> None:
    """sum_j delta_j(r_i) [sum_{tau < T} D^(tau) (I - D^(T))^-1 1_{-N_i^kappa}]_j, D^(0) = I."""
    found = coupling_certificate(LocalLaws(case.env), case.chain("dense").tables, horizon=horizon, kappas=case.env.n)
    blocks = [np.eye(case.env.n)] + [oracle.coupled_disagreement(case.model, t) for t in range(1, horizon + 1)]
    radius = max(abs(np.linalg.eigvals(blocks[-1])))
    assert found.certified == (radius < 1 - 1e-9)
    if found.bounds is None:
        return
    total = sum(blocks[:-1]) @ np.linalg.inv(np.eye(case.env.n) - blocks[-1])
    for i in range(case.env.n):
        delta = np.array([oracle.reward_variation(case.model, i, j) for j in range(case.env.n)])
        for kappa in range(case.env.n):
            outside = np.array([float(j in oracle.outside_agents(case.model, i, kappa)) for j in range(case.env.n)])
            connected = (case.env.network.distances(i) >= 0).numpy()
            exact = float(delta @ total @ (outside * connected))
            assert float(found.bounds[kappa, i]) == pytest.approx(exact, rel=1e-9, abs=1e-13)


def test_several_steps_certify_what_one_step_does_not() -> None:
    """Wireless: a silent user keeps its packet, so C_ii = 1; after deadline steps the packet is gone for certain."""
    case = next(case for case in CASES if case.name == "wireless")
    laws, tables = LocalLaws(case.env), case.chain("dense").tables
    assert not certificate(laws).certified
    assert not coupling_certificate(laws, tables, horizon=1).certified
    found = coupling_certificate(laws, tables, horizon=2)
    assert found.certified
    assert found.rate is None  # Theorem 1's pair is not claimed


def test_one_step_certificates_agree() -> None:
    for case in WEAK:
        laws = LocalLaws(case.env)
        one, other = certificate(laws), coupling_certificate(laws, case.chain("dense").tables, horizon=1)
        assert one.bounds is not None
        np.testing.assert_allclose(other.bounds, one.bounds, rtol=1e-9, atol=1e-15)


def test_blocks_too_long_to_couple_say_so() -> None:
    env = random_local_mdp("line:9", 3, 2)
    tables = Case("", lambda: env, softmax, 0).chain("free").tables
    with pytest.raises(ConfigError, match="GiB"):
        coupling_certificate(LocalLaws(env), tables, horizon=6, memory=0.01)
    with pytest.raises(ConfigError, match="horizon"):
        coupling_certificate(LocalLaws(env), tables, horizon=0)
