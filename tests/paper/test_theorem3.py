"""Theorem 3: where the critic ends, (24) and (25a), and how far from Q_i that is, (13)."""

import numpy as np
import pytest
import torch

from marl.core.errors import ConfigError
from marl.exact import certificate, critic_error, critic_fixed_point, ergodicity, worst_decay
from tests.paper import oracle
from tests.paper.instances import CASES, Case, every_case, weak_cases

CLOSE = {"rtol": 0.0, "atol": 1e-9}


def written_out(case: Case, i: int, kappa: int, table: torch.Tensor) -> dict[oracle.Part, float]:
    """The table by inside pair, as the oracle has it."""
    near = sorted(oracle.hops(case.model, i, kappa))
    local = [oracle.local_pairs(case.model, j) for j in near]
    assert table.shape == tuple(len(pairs) for pairs in local)
    return {
        tuple((j, *pairs[z]) for j, pairs, z in zip(near, local, place, strict=True)): float(table[place])
        for place in np.ndindex(*table.shape)
    }


def both(case: Case, i: int, kappa: int, method: str, dummy: int | None) -> tuple[np.ndarray, np.ndarray]:
    """The library's fixed point and the oracle's, inside pair by inside pair."""
    near = sorted(oracle.hops(case.model, i, kappa))
    part = None if dummy is None else tuple((j, *oracle.local_pairs(case.model, j)[dummy]) for j in near)
    found = written_out(case, i, kappa, critic_fixed_point(case.chain(method), i, kappa, dummy))
    exact = oracle.critic_fixed_point(case.model, i, kappa, part)
    assert set(found) == set(exact)
    return np.array([found[z] for z in exact]), np.array(list(exact.values()))


@every_case
@pytest.mark.parametrize("method", ["dense", "free"])
def test_fixed_point_25a_up_to_a_constant(case: Case, method: str) -> None:
    for i in range(case.env.n):
        for kappa in range(case.env.n):
            found, exact = both(case, i, kappa, method, None)
            difference = found - exact
            assert np.nanmax(difference) - np.nanmin(difference) < CLOSE["atol"]
            np.testing.assert_array_equal(np.isnan(found), np.isnan(exact))


@every_case
@pytest.mark.parametrize("dummy", [0, 1])
def test_fixed_point_24_with_the_dummy(case: Case, dummy: int) -> None:
    for i in range(case.env.n):
        for kappa in range(case.env.n):
            near = sorted(oracle.hops(case.model, i, kappa))
            if min(len(oracle.local_pairs(case.model, j)) for j in near) <= dummy:
                with pytest.raises(ConfigError, match=f"dummy pair {dummy} is not a pair of every agent"):
                    critic_fixed_point(case.chain("dense"), i, kappa, dummy)
                continue
            part = tuple((j, *oracle.local_pairs(case.model, j)[dummy]) for j in near)
            seen = oracle.stationary_pairs(case.model) @ [
                set(part) <= set(oracle.part(z, near)) for z in oracle.all_pairs(case.model)
            ]
            if seen == 0:
                with pytest.raises(ConfigError, match="never occurs"):
                    critic_fixed_point(case.chain("dense"), i, kappa, dummy)
                continue
            found, exact = both(case, i, kappa, "dense", dummy)
            np.testing.assert_allclose(found, exact, **CLOSE)
            assert 0.0 in found


@every_case
def test_mean_zero_and_q_itself_where_everybody_is_inside(case: Case) -> None:
    if case.env.network.num_components() > 1:
        return
    table = critic_fixed_point(case.joint.chain, 0, case.env.n).reshape(-1)
    seen = case.joint.stationary > 0
    np.testing.assert_allclose(table[seen], case.joint.q[seen, 0], **CLOSE)
    assert table[~seen].isnan().all()
    assert critic_error(case.joint, 0, case.env.n, table.reshape(case.joint.sizes)) < 1e-9


@every_case
def test_critic_error_13(case: Case) -> None:
    """The distance to Q_i in the norm of pi over the best constant, and Theorem 3 with the exact left side of (4)."""
    q, pi = oracle.q(case.model), oracle.stationary_pairs(case.model)
    _, mu, _ = oracle.ergodicity(case.model)
    seen = pi > 0
    for i in range(case.env.n):
        for kappa in range(case.env.n):
            exact = oracle.critic_fixed_point(case.model, i, kappa)
            inside = [oracle.part(z, oracle.hops(case.model, i, kappa)) for z in oracle.all_pairs(case.model)]
            difference = np.array([exact[z] for z in inside])[seen] - q[seen, i]
            error = np.sqrt(pi[seen] @ (difference - pi[seen] @ difference) ** 2)
            for dummy in (None, 0) if pi[0] > 0 else (None,):
                table = critic_fixed_point(case.joint.chain, i, kappa, dummy)
                assert critic_error(case.joint, i, kappa, table) == pytest.approx(error, rel=1e-8, abs=1e-9)
            if mu < 1 - 1e-9:
                assert error <= float(worst_decay(case.joint, i)[kappa]) / (1 - mu) + 1e-9


@weak_cases
def test_theorem_3_from_the_certificate(case: Case) -> None:
    """sqrt(E_pi |Qhat_i + c_i - Q_i|^2) <= bound / (1 - mu_D)."""
    bounds, mu = certificate(case.joint.chain.laws, kappas=case.env.n).bounds, ergodicity(case.joint.chain).mu_D
    assert bounds is not None
    for i in range(case.env.n):
        for kappa in range(case.env.n):
            table = critic_fixed_point(case.joint.chain, i, kappa)
            assert critic_error(case.joint, i, kappa, table) <= float(bounds[kappa, i]) / (1 - mu) + 1e-9


def test_a_dummy_that_never_occurs_is_refused() -> None:
    case = next(case for case in CASES if case.name == "transient-states")
    with pytest.raises(ConfigError, match=r"dummy pair 0 .* never occurs"):
        critic_fixed_point(case.chain("dense"), 0, 0, 0)
    with pytest.raises(ConfigError, match="no agent 7"):
        critic_fixed_point(case.chain("dense"), 7, 0)
