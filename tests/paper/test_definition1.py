"""Definition 1: the left side of (4), pair by pair and at its largest."""

import numpy as np
import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs import random_local_mdp
from marl.exact import AverageValues, Chain, decay_curve, fit, sampled_decay, worst_decay
from marl.policies import RandomTable
from tests.paper import oracle
from tests.paper.instances import CASES, Case, every_case


@every_case
@pytest.mark.parametrize("method", ["dense", "free"])
def test_left_side_of_4(case: Case, method: str) -> None:
    values, draw = AverageValues(case.chain(method)), np.random.default_rng(1)
    pairs = oracle.all_pairs(case.model)
    for i in range(case.env.n):
        k, other = draw.integers(len(pairs), size=2)
        rows = torch.tensor([k, other])
        found = decay_curve(values, i, case.pairs[0][rows], case.pairs[1][rows])
        exact = [oracle.left_side(case.model, i, kappa, pairs[k], pairs[other]) for kappa in range(case.env.n)]
        np.testing.assert_allclose(found, exact, rtol=0.0, atol=1e-10)


@every_case
def test_worst_left_side_of_4(case: Case) -> None:
    for i in range(case.env.n):
        exact = [oracle.worst_left_side(case.model, i, kappa) for kappa in range(case.env.n)]
        np.testing.assert_allclose(worst_decay(case.joint, i), exact, rtol=0.0, atol=1e-10)


@every_case
def test_samples_come_from_below(case: Case) -> None:
    for i in range(case.env.n):
        assert (sampled_decay(case.joint.values, i, 20).amax(dim=0) <= worst_decay(case.joint, i) + 1e-12).all()


@every_case
def test_exactly_zero_where_nobody_is_outside(case: Case) -> None:
    values = AverageValues(case.chain("free"))
    for i in range(case.env.n):
        distance = case.env.network.distances(i)
        if (distance < 0).any():
            continue  # an agent without a path is outside at every kappa
        reach = int(distance.max())
        assert not worst_decay(case.joint, i)[reach:].any()
        assert not sampled_decay(values, i, 20)[:, reach:].any()


def test_agents_without_edges_do_not_matter_at_all() -> None:
    """Three chains of their own: (4) is zero at every kappa, up to the rounding of the joint solution."""
    env = random_local_mdp(Network.from_edges(3, []), [2, 3, 2], 2, reward_low=-1.0)
    case = Case("", lambda: env, RandomTable, 0)
    for i in range(3):
        assert worst_decay(case.joint, i).max() < 1e-13
        assert worst_decay(case.joint, i).max() == pytest.approx(oracle.worst_left_side(case.model, i, 0), abs=1e-13)


def test_unreachable_agents_stay_outside() -> None:
    """Agent 2 of 0 - 1, 2: its pair is changed at every kappa, and changes nothing for the others."""
    case = next(case for case in CASES if case.name == "isolated-agent")
    assert worst_decay(case.joint, 0)[0] > 1e-3
    assert worst_decay(case.joint, 0)[1:].max() < 1e-13


def test_corner_of_the_2x6_grid() -> None:
    """Figure 3b: eccentricity 6. Zero exactly from kappa = 6 on, positive at 5, without any matrix."""
    env = random_local_mdp("grid:2x6")
    values = AverageValues(Chain(env, RandomTable(env), method="free"), [0])
    curve = sampled_decay(values, 0, 10).amax(dim=0)
    assert not curve[6:].any()
    assert curve[5] > 1e-9
    assert (curve[:5] > curve[5]).all()
    assert 0.0 < fit(curve).rate < 1.0
    assert fit(curve).points == 6
    with pytest.raises(ConfigError, match="no agent 12"):
        decay_curve(values, 12, *2 * [torch.zeros(2, 12, dtype=torch.int64)])


def test_fit_recovers_an_exponential() -> None:
    curve = 0.7 * 0.3 ** (torch.arange(6, dtype=torch.float64) + 1)
    found = fit(torch.cat([curve, torch.zeros(2, dtype=torch.float64)]))
    assert found.rate == pytest.approx(0.3)
    assert found.scale == pytest.approx(0.7)
    assert found.points == 6
    assert np.isnan(fit(torch.zeros(4, dtype=torch.float64)).rate)
