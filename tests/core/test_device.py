"""Policies and critics on another device: everything moves along. `meta`, on every machine, has shapes and no numbers."""

from collections.abc import Callable
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
    StateValue,
    TabularCritic,
)
from marl.envs import WirelessAccess
from marl.policies import (
    NeighborhoodNeural,
    NeighborhoodSoftmax,
    NeighborhoodTable,
    NeuralPolicy,
    SharedPolicy,
    TabularSoftmax,
)
from marl.schedulers import Constant
from marl.trainers import DiscountedActorCritic, IndependentPPO, RolloutActorCritic, ScalableActorCritic
from marl.trainers.batched import BatchedActorCritic

CRITICS: list[type[Any]] = [AdditiveCritic, GraphCritic, NeuralCritic, PairwiseCritic, RandomFeatures, SharedCritic]
POLICIES: list[type[Any]] = [
    NeighborhoodNeural,
    NeighborhoodSoftmax,
    NeighborhoodTable,
    NeuralPolicy,
    SharedPolicy,
    TabularSoftmax,
]
ENV = WirelessAccess(rows=2, cols=3)

Parts = tuple[type[Any], type[Any], type[Any], dict[str, Any]]
LEARNERS: dict[str, Parts] = {
    "all actions, neural": (RolloutActorCritic, NeuralPolicy, NeuralCritic, {"gradient": "all_actions", "entropy": 0.1}),
    "all actions, pairs": (RolloutActorCritic, NeighborhoodSoftmax, PairwiseCritic, {"gradient": "all_actions"}),
    "natural": (RolloutActorCritic, TabularSoftmax, AdditiveCritic, {"natural": 0.1, "trace_decay": 0.5}),
    "table": (RolloutActorCritic, NeighborhoodTable, AdditiveCritic, {}),
    "ppo": (IndependentPPO, SharedPolicy, StateValue, {"minibatches": 2}),
    "discounted": (DiscountedActorCritic, NeuralPolicy, NeuralCritic, {"horizon": 8}),
    "step by step": (ScalableActorCritic, NeuralPolicy, NeuralCritic, {}),
    **{f"sampled, {kind.__name__}": (RolloutActorCritic, NeuralPolicy, kind, {}) for kind in CRITICS},
}
every_learner = pytest.mark.parametrize("learner", LEARNERS)


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


def trainer(device: str, parts: Parts) -> Any:
    kind, policy, critic, options = parts
    rollout = {"rollout": 8} if issubclass(kind, BatchedActorCritic) else {}
    sizes = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(0.1 if kind is IndependentPPO else 1.0)}
    return kind(
        ENV, policy(ENV, replicas=2), critic(ENV, kappa=1, replicas=2), device=device, **rollout, **sizes, **options
    )


@pytest.mark.parametrize("device", ["nowhere", "cuda:4096"])
def test_a_device_that_is_not_there(device: str) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.device"):
        trainer(device, LEARNERS["step by step"])


def test_tables_stay_in_main_memory() -> None:
    with pytest.raises(ConfigError, match="main memory"):
        trainer("meta", (RolloutActorCritic, NeuralPolicy, TabularCritic, {}))


@every_learner
def test_trainers_meet_no_tensor_of_another_device(learner: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes back from `meta`, where there are no numbers, is made up: zeros, and True to what is asked.

    Lookups with numbers from elsewhere pass here, and not on a GPU.
    """

    def made_up(move: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def moved(tensor: Tensor, *to: Any, **how: Any) -> Tensor:
            try:
                return move(tensor, *to, **how)
            except NotImplementedError:
                return move(torch.full(tensor.shape, tensor.dtype == torch.bool, dtype=tensor.dtype), *to, **how)

        return moved

    for name in ("to", "cpu"):
        monkeypatch.setattr(Tensor, name, made_up(getattr(Tensor, name)))
    there = trainer("meta", LEARNERS[learner])
    there.run(24)
    assert there.t == 24
    assert not there.s.is_meta
    for module in (there.policy, there.critic):
        assert all(tensor.is_meta for tensor in everything(module))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@every_learner
def test_a_gpu_learns_the_same(learner: str) -> None:
    """Float64, 64 steps: up to the order of sums, which Adam can enlarge where gradients are tiny."""
    here, there = (trainer(device, LEARNERS[learner]) for device in ("cpu", "cuda"))
    started = [parameter.detach().clone() for parameter in here.policy.parameters()]
    for each in (here, there):
        each.run(64)
    assert torch.equal(here.s, there.s)
    assert torch.equal(here.a, there.a)
    for module in ("policy", "critic"):
        pairs = zip(getattr(here, module).parameters(), getattr(there, module).parameters(), strict=True)
        for mine, theirs in pairs:
            assert theirs.is_cuda
            assert torch.allclose(mine, theirs.cpu(), rtol=0.0, atol=1e-7 if learner == "ppo" else 1e-9)
    assert torch.allclose(here.critic.mu, there.critic.mu.cpu(), rtol=0.0, atol=1e-9)
    assert any(not torch.equal(held, new) for held, new in zip(started, here.policy.parameters(), strict=True))
