"""Assumption 4: sigma, mu_D and |lambda_2|, and when Theorems 2 and 3 are vacuous."""

import numpy as np
import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs import LocalMDP, random_local_mdp
from marl.exact import Chain, ergodicity
from marl.policies import TabularSoftmax
from tests.paper import oracle
from tests.paper.instances import Case, every_case


@every_case
@pytest.mark.parametrize("method", ["dense", "free"])
def test_ergodicity(case: Case, method: str) -> None:
    found, (sigma, mu, lambda_2) = ergodicity(case.chain(method)), oracle.ergodicity(case.model)
    assert found.sigma == pytest.approx(sigma, rel=1e-9, abs=1e-12)
    assert (found.sigma == 0) == (sigma == 0)
    assert found.mu_D == pytest.approx(mu, rel=1e-9, abs=1e-8)
    # eigenvalue zero in a Jordan block comes out as large as 1e-4, in different sizes for pairs and for states
    assert found.lambda_2 == pytest.approx(lambda_2, rel=1e-8, abs=1e-8 if lambda_2 > 1e-2 else 1e-2)
    assert found.lambda_2 <= 1 + 1e-12
    assert (found.vacuous is None) == (sigma > 0 and mu < 1 - 1e-9)


def two_states(stay: float, both: float) -> Chain:
    """One agent, s in {0, 1}, a in {0, 1}: from (s, a) to s' = a with probability `stay`; P(a = 1) = `both`."""
    law = np.array([[[stay, 1 - stay], [1 - stay, stay]]] * 2)
    env = LocalMDP(Network.line(1), [law], [np.eye(2)])
    policy = TabularSoftmax(env)
    with torch.no_grad():
        policy.theta[..., 1] = np.log(both / (1 - both))
    return Chain(env, policy)


def test_two_states_by_hand() -> None:
    """The next state follows the action alone, so s(0), s(1), ... are independent: lambda_2 = 0.

    pi(s = 1) = 0.8 * 0.75 + 0.2 * 0.25 = 0.65 under zeta(1) = 0.8 and law 0.75 / 0.25.
    sigma = least of {0.35, 0.65} x {0.2, 0.8} = 0.35 * 0.2 = 0.07.
    mu_D: g(s) with mean 0 and variance 1 is (1(s=1) - 0.65) / sqrt(0.65 * 0.35). Given z it has the mean
    (0.75 - 0.65) / sqrt(0.2275) with probability 0.8 and (0.25 - 0.65) / sqrt(0.2275) with probability 0.2:
    mu_D^2 = (0.8 * 0.01 + 0.2 * 0.16) / 0.2275 = 0.04 / 0.2275.
    """
    found = ergodicity(two_states(0.75, 0.8))
    assert found.sigma == pytest.approx(0.07)
    assert found.mu_D == pytest.approx((0.04 / 0.2275) ** 0.5)
    assert found.lambda_2 == pytest.approx(0.0, abs=1e-12)
    assert found.vacuous is None


def test_two_states_that_remember_for_one_step() -> None:
    """Laws 1 / 0: s' = a is known from z, so mu_D = 1, although s(2) is independent of z(0)."""
    found = ergodicity(two_states(1.0, 0.5))
    assert found.sigma == pytest.approx(0.25)
    assert found.mu_D == pytest.approx(1.0)
    assert found.lambda_2 == pytest.approx(0.0, abs=1e-12)
    text = str(found.vacuous)
    assert "mu_D = 1" in text
    assert "although the chain mixes" in text
    assert "probability 0" not in text


def test_two_states_in_turn() -> None:
    """s' = 1 - s: periodic, lambda_2 = mu_D = 1; the text does not say that it mixes."""
    env = LocalMDP(Network.line(1), [np.array([[[0.0, 1.0]], [[1.0, 0.0]]])], [np.eye(2)[:, :1]])
    for method in ("dense", "free"):
        found = ergodicity(Chain(env, TabularSoftmax(env), method=method))
        assert found == pytest.approx((0.5, 1.0, 1.0))
        assert "mixes" not in str(found.vacuous)


def test_transient_state_by_hand() -> None:
    """0 -> 1 for good: sigma = 0, one recurrent state, on which P - 1 pi' is zero; lambda_2 = 1/2 is that of leaving."""
    env = LocalMDP(Network.line(1), [np.array([[[0.5, 0.5]], [[0.0, 1.0]]])], [np.eye(2)[:, :1]])
    for method in ("dense", "free"):
        found = ergodicity(Chain(env, TabularSoftmax(env), method=method))
        assert found.sigma == 0.0
        assert found.mu_D == pytest.approx(0.0, abs=1e-7)
        assert found.lambda_2 == pytest.approx(0.5)
        assert "4(a) fails" in str(found.vacuous)


def test_too_many_states() -> None:
    env = random_local_mdp("line:11", 2, 1)
    with pytest.raises(ConfigError, match="2048"):
        ergodicity(Chain(env, TabularSoftmax(env), method="free"))
