"""Traps for who reads the paper, one test each; 5, 7 and 10 stand in test_traps_of_learning.py."""

import tracemalloc
from typing import Any

import numpy as np
import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs import Coloring, LocalMDP, WirelessAccess, random_local_mdp
from marl.exact import (
    AverageValues,
    Chain,
    JointPairs,
    LocalLaws,
    certificate,
    decay_curve,
    ergodicity,
    gradient,
    worst_decay,
)
from marl.exact.fixed_point import critic_fixed_point
from marl.policies import RandomTable, StateIndependentSoftmax, TabularSoftmax
from tests.paper import oracle
from tests.paper.instances import randomized


@pytest.mark.parametrize(
    "env", [WirelessAccess(2, 2, arrival=0.5, success=0.5), Coloring("line:3", 2)], ids=["wireless", "coloring"]
)
def test_trap_1_wireless_and_coloring_are_not_certified(env: Any) -> None:
    """C_ii = 1: a silent user's next state, and a next color, reveal what was there before."""
    found = certificate(LocalLaws(env))
    assert not found.certified
    assert found.bounds is found.rate is found.constant is None
    assert "two of its pairs have no next state in common" in found.reason
    assert found.radius >= 1.0
    if isinstance(env, WirelessAccess):
        with pytest.raises(ConfigError, match="Theorem 1 does not apply"):
            certificate(LocalLaws(env), form="paper")


def test_trap_2_signed_rewards_take_the_span() -> None:
    """C_12 = 0.2 and r_1 = -1 or +1: a left side of 0.4, above rbar rho / (1 - rho) = 0.25 and at the bound with spans."""
    follows = np.array([[[[0.6, 0.4]], [[0.4, 0.6]]]] * 2)  # [s_1, s_2, a_1, s_1']
    blind = np.full((2, 2, 1, 2), 0.5)
    env = LocalMDP(Network.line(2), [follows, blind], [np.array([[-1.0], [1.0]]), np.zeros((2, 1))])
    left = worst_decay(JointPairs(Chain(env, TabularSoftmax(env))), 0)
    found = certificate(LocalLaws(env))
    assert found.rate == pytest.approx(0.2)
    assert float(left[0]) == pytest.approx(0.4)
    assert float(left[0]) > 1.0 * 0.2 / (1 - 0.2)  # what Theorem 1 says of rewards in [0, 1]
    assert found.bounds is not None
    assert float(found.bounds[0, 0]) == pytest.approx(0.4)
    assert found.constant == pytest.approx(2.0 / 0.8)


def test_trap_3_mu_d_is_1_for_a_chain_that_mixes() -> None:
    env = Coloring("ring:3", 2)
    found = ergodicity(Chain(env, randomized(StateIndependentSoftmax(env))))
    assert found.mu_D == pytest.approx(1.0)
    assert found.lambda_2 < 0.1  # after two steps everything is forgotten
    assert "Theorems 2 and 3 are vacuous" in str(found.vacuous)
    assert f"|lambda_2| = {found.lambda_2:.3g}" in str(found.vacuous)


@pytest.mark.parametrize("method", ["dense", "free"])
def test_trap_4_unreachable_states_have_probability_zero(method: str) -> None:
    """Two neighbors always have equal bits, so on 0 - 1 half of all states, (b_0 != b_1), is never seen twice."""
    env = Coloring("line:2", 2)
    chain = Chain(env, randomized(StateIndependentSoftmax(env)), method=method)
    values = AverageValues(chain)
    unlike = (chain.states()[:, 0] ^ chain.states()[:, 1]) & 1 == 1
    assert unlike.sum() == 8
    assert not values.stationary[unlike].any()
    assert (values.stationary[~unlike] > 0).all()
    assert values.V.isfinite().all()
    assert gradient(chain)["theta"].isfinite().all()
    assert ergodicity(chain).sigma == 0.0
    assert "Assumption 4(a) fails" in str(ergodicity(chain).vacuous)
    table = critic_fixed_point(chain, 0, 1).reshape(4, 2, 4, 2)  # s_0, a_0, s_1, a_1
    bits = np.arange(4) & 1
    differ = torch.from_numpy(bits[:, None] != bits)
    assert table.isnan().all(dim=3).all(dim=1).equal(differ)


def test_trap_6_actions_are_summed_jointly() -> None:
    """Both next states follow a_0 with probability 0.9, so they agree with 0.9^2 + 0.1^2 = 0.82, not with 1/2."""
    sees = np.empty((1, 2, 2, 1, 2))  # [s_0, a_0, s_1, a_1, s'], agent 0 acts, agent 1 watches
    sees[:, 0], sees[:, 1] = [0.9, 0.1], [0.1, 0.9]
    laws = [np.broadcast_to(sees, (2, 2, 2, 1, 2))] * 2
    env = LocalMDP(Network.line(2), laws, [np.eye(2), np.eye(2)[:, :1]])
    for method in ("dense", "free"):
        chain = Chain(env, TabularSoftmax(env), method=method)
        np.testing.assert_allclose(chain.matrix[0], [0.41, 0.09, 0.09, 0.41])
        np.testing.assert_allclose(chain.expect(np.array([[1.0], [0.0], [0.0], [1.0]])), 0.82)
        np.testing.assert_allclose(AverageValues(chain).stationary, [0.41, 0.09, 0.09, 0.41])
        model = oracle.model_of(env, chain.policy)
        marginal = chain.matrix.reshape(4, 2, 2).numpy()
        alone = np.einsum("xi,xj->xij", marginal.sum(axis=2), marginal.sum(axis=1))
        assert np.abs(alone - oracle.state_chain(model).reshape(4, 2, 2)).max() == pytest.approx(0.16)


def test_trap_8_no_matrix_on_4096_states(monkeypatch: pytest.MonkeyPatch) -> None:
    """The matrix alone would take 134 MB."""

    def forbidden(*_: object) -> None:
        raise AssertionError("a matrix was built")

    monkeypatch.setattr("marl.exact.dense.transition_matrix", forbidden)
    env = random_local_mdp("grid:2x6", instance_seed=1)
    policy = RandomTable(env)
    assert Chain(env, policy).method == "free"
    AverageValues(Chain(env, policy, method="free"), [0])  # whatever is compiled is compiled here
    tracemalloc.start()
    try:
        chain = Chain(env, policy, method="free")
        values = AverageValues(chain, [0])
        curve = decay_curve(values, 0, torch.tensor([[0] * 12, [1] * 12]), torch.zeros(2, 12, dtype=torch.int64))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert chain.num_states == 4096
    assert values.stationary.sum() == pytest.approx(1.0)
    assert curve[0] > 0
    assert peak < 2**24
    with pytest.raises(AssertionError, match="a matrix was built"):
        AverageValues(Chain(env, policy, method="dense"), [0])


def test_trap_9_nothing_is_outside_from_the_eccentricity_on() -> None:
    env = random_local_mdp("grid:2x6", [1, 2] * 6, 2)
    assert env.network.distances(0).max() == 6
    assert (
        decay_curve(
            AverageValues(Chain(env, RandomTable(env)), [0]),
            0,
            torch.tensor([[0] * 12, [0, 1] * 6]),
            torch.tensor([[0] * 12, [1] * 12]),
        )[6:].tolist()
        == [0.0] * 6
    )
    weak = certificate(LocalLaws(random_local_mdp("grid:2x6", interaction=0.1)), [0])
    assert weak.bounds is not None
    assert weak.bounds.shape == (7, 1)
    assert weak.bounds[5] > 0
    assert weak.bounds[6] == 0
