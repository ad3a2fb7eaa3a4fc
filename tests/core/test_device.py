"""Policies and critics on another device: everything moves along. `meta`, on every machine, has shapes and no numbers."""

from typing import Any

import pytest
import torch
from torch import Tensor

from marl.core.contract import random_inputs
from marl.core.errors import ConfigError
from marl.core.module import Movable
from marl.critics import (
    AdditiveCritic,
    GraphCritic,
    NeuralCritic,
    PairwiseCritic,
    RandomFeatures,
    SharedCritic,
    TabularCritic,
)
from marl.envs import WirelessAccess
from marl.policies import NeighborhoodNeural, NeighborhoodSoftmax, NeuralPolicy, SharedPolicy, TabularSoftmax
from marl.schedulers import Constant
from marl.trainers import RolloutActorCritic

CRITICS: list[type[Any]] = [AdditiveCritic, GraphCritic, NeuralCritic, PairwiseCritic, RandomFeatures, SharedCritic]
POLICIES: list[type[Any]] = [NeighborhoodNeural, NeighborhoodSoftmax, NeuralPolicy, SharedPolicy, TabularSoftmax]
ENV = WirelessAccess(rows=2, cols=3)


def tensors(value: Any) -> list[Tensor]:
    """All tensors in an attribute."""
    if isinstance(value, tuple | list):
        return [tensor for part in value for tensor in tensors(part)]
    return [value] if isinstance(value, Tensor) else []


def everything(module: Movable) -> list[Tensor]:
    held = [tensor for value in vars(module).values() for tensor in tensors(value)]
    return [*held, *module.parameters(), *module.buffers()]


@pytest.mark.parametrize("kind", CRITICS + POLICIES)
def test_everything_moves(kind: type[Any]) -> None:
    module = kind(ENV, replicas=2)
    count = len(everything(module))
    module.to("meta")
    assert len(everything(module)) == count > 3
    assert all(tensor.is_meta for tensor in everything(module))


@pytest.mark.parametrize("kind", CRITICS)
def test_critics_meet_no_tensor_of_another_device(kind: type[Any]) -> None:
    critic = kind(ENV, kappa=1, replicas=2).to("meta")
    s, a = (part.view(3, 2, 6) for part in random_inputs(ENV, 6, 0)[:2])
    q = critic.q(s, a)
    assert q.is_meta
    assert q.shape == (3, 2, 6)
    assert critic.advantage(q).is_meta
    assert critic.distance(q, critic.centered(torch.zeros(3, 2, 6), 1.0)).is_meta
    if kind in (AdditiveCritic, NeuralCritic, PairwiseCritic):
        assert critic.counterfactual(s, a).is_meta


@pytest.mark.parametrize("kind", POLICIES)
def test_policies_meet_no_tensor_of_another_device(kind: type[Any]) -> None:
    policy = kind(ENV, replicas=2).to("meta")
    s, a = (part.view(3, 2, 6) for part in random_inputs(ENV, 6, 0)[:2])
    assert policy.log_prob(s, a).is_meta
    assert policy.entropy(s).shape == (3, 2, 6)


@pytest.mark.parametrize("device", ["nowhere", "cuda:4096"])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.device"):
        trainer(device)


def test_tables_stay_in_main_memory() -> None:
    with pytest.raises(ConfigError, match="main memory"):
        trainer("meta", TabularCritic)


def trainer(device: str, critic: type[Any] = NeuralCritic) -> RolloutActorCritic:
    sizes = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(1.0)}
    return RolloutActorCritic(
        ENV, NeuralPolicy(ENV, replicas=2), critic(ENV, kappa=1, replicas=2), rollout=8, device=device, **sizes
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("critic", CRITICS)
def test_a_gpu_learns_the_same(critic: type[Any]) -> None:
    """Float64, 64 steps: up to the order of sums."""
    here, there = trainer("cpu", critic), trainer("cuda", critic)
    for each in (here, there):
        each.run(64)
    assert torch.equal(here.s, there.s)
    for mine, theirs in zip(here.critic.parameters(), there.critic.parameters(), strict=True):
        assert torch.allclose(mine, theirs.cpu(), atol=1e-9)
    for mine, theirs in zip(here.policy.parameters(), there.policy.parameters(), strict=True):
        assert torch.allclose(mine, theirs.cpu(), atol=1e-9)
