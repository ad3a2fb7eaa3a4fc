"""What step sizes critics that are linear in their parameters stand: the squared norm of what a value is linear in."""

from typing import Any

import pytest
import torch
from torch import Tensor

from marl.core.critic import Critic
from marl.critics import AdditiveCritic, PairwiseCritic, RandomFeatures, TabularCritic
from marl.envs import WirelessAccess
from marl.testing import random_inputs

ENV = WirelessAccess(incidence=[[0], [0, 1], [1, 2], [1, 2], [2]], deadline=[1, 2, 2, 1, 3])
STEPS = 12
LINEAR: list[tuple[type[Any], dict[str, Any]]] = [
    (TabularCritic, {"storage": "dense"}),
    (TabularCritic, {"storage": "hash"}),
    (AdditiveCritic, {}),
    (PairwiseCritic, {}),
]


def made(kind: type[Critic], kappa: int, **given: Any) -> tuple[Critic, Tensor, Tensor]:
    """A critic that has entries for the pairs (s, a) [STEPS, 2, n] beside it, some of them twice."""
    critic = kind(ENV, kappa=kappa, replicas=2, seed=3, **given)
    s, a, _ = random_inputs(ENV, STEPS, 1)
    s, a = (torch.stack([x, x.roll(1, dims=0)], dim=1) for x in (s, a))
    s[3], a[3] = s[0], a[0]
    if critic.table is not None:
        critic.table.visit(s, a)
    return critic, s, a


def errors_after(critic: Critic, s: Tensor, a: Tensor, target: Tensor, alpha: float) -> Tensor:
    """target - q(s, a) after a gradient step of size alpha on the mean over the steps [K, B, n] of half their squares."""
    optimizer = torch.optim.SGD(critic.parameters(), lr=alpha)
    optimizer.zero_grad()
    critic.distance(critic.q(s, a), target).mean(dim=0).sum().backward()
    optimizer.step()
    return target - critic.q(s, a).detach()


def squared_norms(kind: type[Critic], kappa: int, **given: Any) -> Tensor:
    """phi'phi of every step, replica and agent, as the share by which a step of size 1 moves a value to its target."""
    critic, s, a = made(kind, kappa, **given)
    target = torch.ones(s.shape, dtype=torch.float64)
    norms = []
    for k in range(STEPS):
        error = (target[k] - critic.q(s[k], a[k])).detach()[None]
        norms.append(1.0 - errors_after(critic, s[k, None], a[k, None], target[k, None], 1.0) / error)
        for parameter in critic.parameters():
            parameter.data.zero_()
    return torch.cat(norms)


@pytest.mark.parametrize("kappa", [0, 1, 2])
@pytest.mark.parametrize(("kind", "given"), LINEAR)
def test_values_are_linear_in_features_of_norm_1(kind: type[Critic], given: dict[str, Any], kappa: int) -> None:
    """So a step of size alpha leaves 1 - alpha of the error: none of size in (0, 1] goes beyond the target.

    And the implicit step alpha / (1 + alpha phi'phi) is the plain one of size alpha / (1 + alpha).
    """
    norms = squared_norms(kind, kappa, **given)
    torch.testing.assert_close(norms, torch.ones_like(norms), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kappa", [0, 1, 2])
def test_random_features_have_about_norm_1_and_never_more_than_the_root_of_2(kappa: int) -> None:
    """(2 / F) sum_k cos^2 is below 2, and 1 on average with standard deviation (2 F)^(-1/2), .09 for 64 features.

    Each is within six of these, and their mean within two, for phases of the seed of this test.
    """
    norms = squared_norms(RandomFeatures, kappa)
    assert 0.0 < norms.min() <= norms.max() < 2.0
    deviation = (2 * 64) ** -0.5
    assert ((norms - 1.0).abs() < 6.0 * deviation).all()
    assert (norms.mean() - 1.0).abs() < 2.0 * deviation
    assert norms.std() > 0.2 * deviation


@pytest.mark.parametrize(("kind", "given"), [*LINEAR, (RandomFeatures, {})])
def test_a_batch_stands_steps_below_2_over_the_largest_norm(kind: type[Critic], given: dict[str, Any]) -> None:
    """The mean of phi phi' over the steps has norm 1 at most, so errors [K] never grow; it is 1 where all are of one pair.

    Of random features the largest phi'phi stands in place of 1.
    """
    largest = float(squared_norms(kind, 1, **given).max())
    target = torch.randn(STEPS, 2, ENV.n, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    critic, s, a = made(kind, 1, **given)
    left = errors_after(critic, s, a, target, 1.999 / largest).square().sum(dim=0)
    assert (left <= target.square().sum(dim=0)).all()
    same, ones = [x[:1].expand(STEPS, -1, -1) for x in (s, a)], torch.ones_like(target)
    for alpha, grows in ((1.999, False), (2.001, True)):
        critic, _, _ = made(kind, 1, **given)
        size = alpha / squared_norms(kind, 1, **given)[0].max().item()
        left = errors_after(critic, *same, ones, size).abs().max()
        assert (left > 1.0) == grows
