"""Influence sums where sweeps run out, and the factor from residual to error: upper bounds, and not loose ones."""

import numpy as np
import pytest
import torch

from marl.core.network import Network
from marl.envs import LocalMDP, random_local_mdp
from marl.exact import Chain, LocalLaws, certificate
from marl.exact.influence import Influence
from marl.exact.interaction import NeighborMatrix
from marl.exact.poisson import gain
from marl.policies import RandomTable, Uniform


def line_matrix(full: np.ndarray) -> NeighborMatrix:
    neighborhood = Network.line(len(full)).neighborhood(1)
    rows = np.arange(len(full))[:, None]
    return NeighborMatrix(full[rows, neighborhood.index.numpy()], neighborhood)


@pytest.mark.parametrize("own", [0.5, 0.99, 0.9999, 0.999999])
def test_what_sweeps_leave_out_is_added(own: float) -> None:
    """20,000 sweeps of 0.9999 leave 13 % of the sum, of 0.999999 nearly all of it."""
    full = np.array([[own, 0.0], [0.3, 0.2]])
    total, rest = Influence(line_matrix(full))(np.eye(2))
    exact = np.linalg.inv(np.eye(2) - full).T
    assert (total.sum(axis=0) + rest >= exact.sum(axis=0) * (1 - 1e-9)).all()
    assert (total <= exact * (1 + 1e-9) + 1e-12).all()
    assert (total.sum(axis=0) + rest <= 10.0 * exact.sum(axis=0)).all()


def test_one_way_influence_is_not_loose() -> None:
    """The weights of a power method would spread over 40 orders of magnitude here."""
    full = np.array([[0.1, 0.0, 0.0], [0.3, 0.5, 0.0], [0.0, 0.15, 0.81]])
    total, rest = Influence(line_matrix(full))(np.eye(3))
    np.testing.assert_allclose(total + 0.0 * rest, np.linalg.inv(np.eye(3) - full).T, rtol=1e-12)
    assert (rest < 1e-15).all()


def test_the_gain_is_the_sum_of_the_resolvent() -> None:
    """Two independent agents that keep their bit with probability 1/2 more than a coin: C = I/2, (I - C)^-1 = 2 I."""
    keep = np.array([[0.75, 0.25], [0.25, 0.75]])
    law = [np.broadcast_to(keep[:, None, None], (2, 2, 1, 2)), np.broadcast_to(keep[None, :, None], (2, 2, 1, 2))]
    env = LocalMDP(Network.line(2), law, [np.array([[0.0], [1.0]])] * 2)
    assert gain(Chain(env, Uniform(env))) == pytest.approx(4.0)


def test_rows_of_single_precision_laws_are_divided_by_their_sum() -> None:
    """Missing mass would count as agreement."""
    env = random_local_mdp("line:2")
    exact = LocalLaws(env)
    env.transition_values = env.transition_values.float().double() * (1.0 - 1e-7)
    for law in LocalLaws(env).law:
        np.testing.assert_allclose(law.sum(axis=-1), 1.0, atol=1e-15)
    np.testing.assert_allclose(LocalLaws(env).law[0], exact.law[0], atol=1e-6)


def test_columns_that_do_not_fit_together_are_taken_in_parts() -> None:
    env = random_local_mdp("line:6", private_actions=False)
    policy = RandomTable(env)
    wide, narrow = Chain(env, policy, method="free"), Chain(env, policy, method="free")
    narrow.elimination._columns = 2
    h = np.random.default_rng(0).random((64, 5))
    assert np.array_equal(wide.expect(h), narrow.expect(h))
    assert np.array_equal(wide.push(h), narrow.push(h))
    assert Chain(env, policy, method="free", memory=4.0).elimination._columns > 5


@pytest.mark.parametrize("n", [700, pytest.param(1100, marks=pytest.mark.slow)])
def test_networks_whose_joint_state_no_float_can_count(n: int) -> None:
    """The certificate does not care; what needs the joint state refuses in one sentence."""
    from marl.core.errors import ConfigError

    env = random_local_mdp(f"line:{n}", interaction=0.2)
    assert certificate(LocalLaws(env), [0], kappas=3).certified
    for method in ("auto", "dense", "free"):
        with pytest.raises(ConfigError, match="joint states"):
            Chain(env, RandomTable(env), method=method)


def test_auto_turns_to_the_matrix_where_iteration_is_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A deterministic cycle of 60 states, which counts as large here."""
    monkeypatch.setattr("marl.exact.chain.DENSE_STATES", 50)
    law = np.roll(np.eye(60), 1, axis=1)[:, None]
    env = LocalMDP(Network.line(1), [law], [np.arange(60.0)[:, None]])
    chain = Chain(env, Uniform(env))
    assert chain.method == "free"
    from marl.exact import AverageValues

    assert float(AverageValues(chain).J) == pytest.approx(29.5)
    assert chain.method == "dense"
    assert torch.allclose(AverageValues(chain).stationary, torch.full((60,), 1 / 60, dtype=torch.float64))
