"""Critics that are linear in their parameters, and the values of actions that were not taken, against plain loops."""

from typing import Any

import pytest
import torch
from torch import Tensor

from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.critics import AdditiveCritic, LinearCritic, NeuralCritic, PairwiseCritic, RandomFeatures, TabularCritic
from marl.envs import WirelessAccess, random_local_mdp
from marl.policies import TabularSoftmax
from marl.schedulers import Constant
from marl.testing import random_inputs
from marl.trainers import RolloutActorCritic

ENVIRONMENTS = {
    "wireless": lambda: WirelessAccess(rows=2, cols=3, deadline=[1, 2, 2, 1, 3, 2]),
    "tables": lambda: random_local_mdp("line:5", [2, 3, 2, 1, 3], [2, 1, 3, 2, 2], private_actions=False),
}
CRITICS: list[type[Any]] = [AdditiveCritic, PairwiseCritic, NeuralCritic, RandomFeatures]


def filled(kind: type[Any], env: Environment, kappa: int, replicas: int = 2) -> Any:
    critic = kind(env, kappa=kappa, replicas=replicas, seed=7)
    draw = torch.Generator().manual_seed(kappa)
    with torch.no_grad():
        for parameter in critic.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype))
    return critic


def rollout(env: Environment, *shape: int) -> tuple[Tensor, Tensor]:
    s, a, _ = random_inputs(env, int(torch.tensor(shape).prod()), 3)
    return s.reshape(*shape, env.n), a.reshape(*shape, env.n)


@pytest.mark.parametrize("kappa", [0, 1, 2])
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_sums_written_out(name: str, kappa: int) -> None:
    env = ENVIRONMENTS[name]()
    additive, pairwise = filled(AdditiveCritic, env, kappa), filled(PairwiseCritic, env, kappa)
    index, mask, size = env.network.neighborhood(kappa)
    s, a = rollout(env, 4, 2)
    w_alone, w_met = additive.weight.detach(), pairwise.weight.detach()
    one, two = additive.q(s, a).detach(), pairwise.q(s, a).detach()
    for k in range(4):
        for b in range(2):
            z = [int(env.pair_index[i, s[k, b, i], a[k, b, i]]) for i in range(env.n)]
            for i in range(env.n):
                members = index[i, mask[i]].tolist()
                alone = sum(float(w_alone[b, i, j, z[other]]) for j, other in enumerate(members))
                met = sum(float(w_met[b, i, j, z[i], z[other]]) for j, other in enumerate(members))
                assert one[k, b, i] == pytest.approx(alone / int(size[i]) ** 0.5, abs=1e-12)
                assert two[k, b, i] == pytest.approx(met / int(size[i]) ** 0.5, abs=1e-12)


def test_a_critic_that_cannot_tell() -> None:
    env = ENVIRONMENTS["wireless"]()
    sizes = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(1.0)}
    with pytest.raises(ConfigError, match=r"TabularCritic does not give; .* marl\.CounterfactualCritic"):
        RolloutActorCritic(env, TabularSoftmax(env), TabularCritic(env), gradient="all_actions", **sizes)


def test_random_features_have_the_kernel_they_say() -> None:
    """The mean product over 20,000 features of two joint pairs that differ in d members is exp(-d / width^2), up to 0.05.

    A product has variance at most 1.5, so that is over 5.7 standard errors: probability below 2e-8 each.
    """
    env = random_local_mdp("line:4", 3, 2)
    critic = RandomFeatures(env, kappa=3, features=20_000, width=1.5, seed=1)
    assert isinstance(critic, LinearCritic)
    base, a = torch.zeros(1, 4, dtype=torch.int64), torch.zeros(1, 4, dtype=torch.int64)
    one = critic._features(base, a)[0, 0]
    for d in range(4):
        other = base.clone()
        other[0, :d] = 2
        product = float((one * critic._features(other, a)[0, 0]).sum())
        assert product == pytest.approx(2.718281828 ** (-d / 1.5**2), abs=0.05)
