"""Policies and critics on another device: everything moves along. `meta`, on every machine, has shapes and no numbers."""

import copy
import inspect
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from marl import critics, policies
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.indexing import NeighborhoodModule
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
from marl.policies import NeighborhoodSoftmax, NeighborhoodTable, NeuralPolicy, SharedPolicy, TabularSoftmax
from marl.schedulers import Constant
from marl.testing import random_inputs
from marl.trainers import DiscountedActorCritic, KappaHopPPO, RolloutActorCritic, ScalableActorCritic
from marl.trainers.batched import BatchedActorCritic


def concrete(package: Any) -> list[type[Any]]:
    """All classes that a package offers, but for those to derive from."""
    return [kind for kind in (getattr(package, name) for name in package.__all__) if not inspect.isabstract(kind)]


IN_MAIN_MEMORY: dict[type[Any], tuple[str, ...]] = {
    TabularCritic: ("_modules.table.keys", "_modules.table.storage", "_modules.table._dummy")
}
"""A table lives in main memory, where compiled loops write to it; trainers refuse to move it."""
CRITICS = [AdditiveCritic, GraphCritic, NeuralCritic, PairwiseCritic, RandomFeatures, SharedCritic]
MOVING = [kind for kind in concrete(critics) + concrete(policies) if kind not in IN_MAIN_MEMORY]
ENV = WirelessAccess(rows=2, cols=3)

Parts = tuple[type[Any], type[Any], type[Any], dict[str, Any]]
LEARNERS: dict[str, Parts] = {
    "all actions, neural": (RolloutActorCritic, NeuralPolicy, NeuralCritic, {"gradient": "all_actions", "entropy": 0.1}),
    "all actions, pairs": (RolloutActorCritic, NeighborhoodSoftmax, PairwiseCritic, {"gradient": "all_actions"}),
    "natural": (RolloutActorCritic, TabularSoftmax, AdditiveCritic, {"natural": 0.1, "trace_decay": 0.5}),
    "table": (RolloutActorCritic, NeighborhoodTable, AdditiveCritic, {}),
    "ppo": (KappaHopPPO, SharedPolicy, StateValue, {"minibatches": 2}),
    "discounted": (DiscountedActorCritic, NeuralPolicy, NeuralCritic, {"horizon": 8}),
    "step by step": (ScalableActorCritic, NeuralPolicy, NeuralCritic, {}),
    **{f"sampled, {kind.__name__}": (RolloutActorCritic, NeuralPolicy, kind, {}) for kind in CRITICS},
}
every_learner = pytest.mark.parametrize("learner", LEARNERS)


def unregistered(part: Any, path: str) -> list[str]:
    """Where tensors are that no module has registered, in attributes, collections and objects; not in the environment."""
    if isinstance(part, Tensor):
        return [path]
    if isinstance(part, Environment):
        return []
    inside = dict(enumerate(part)) if isinstance(part, list | tuple | set) else part
    if not isinstance(inside, dict):
        inside = getattr(part, "__dict__", {}) if not callable(part) or isinstance(part, nn.Module) else {}
    registered = ("_parameters", "_buffers") if isinstance(part, nn.Module) else ()
    return [
        where for name, value in inside.items() if name not in registered for where in unregistered(value, f"{path}.{name}")
    ]


def everything(module: nn.Module) -> list[Tensor]:
    return [*module.parameters(), *module.buffers()]


@pytest.mark.parametrize("kind", concrete(critics) + concrete(policies))
def test_every_tensor_is_registered(kind: type[Any]) -> None:
    """... or it would stay behind. `state_dict` holds what is public: parameters, mu and what was drawn."""
    module = kind(ENV, replicas=2)
    staying = IN_MAIN_MEMORY.get(kind, ())
    found = [path.partition(".")[2] for path in unregistered(module, kind.__name__)]
    assert [path for path in found if not path.startswith(staying)] == []
    assert dict(module.named_parameters()).keys() - {"table.values"} <= module.state_dict().keys()
    private = [name for name in module.state_dict() if name.rpartition(".")[2].startswith("_")]
    assert [name for name in private if not name.endswith("_extra_state")] == []


def test_what_is_not_registered_is_found() -> None:
    class Careless(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(1, 1)
            self.inner.table = [torch.zeros(1)]  # type: ignore[assignment]
            self.near = ENV.network.neighborhood(1)
            self.interval = RandomFeatures(ENV)
            self.other = Holder()

    class Holder:
        def __init__(self) -> None:
            self.count = {"all": torch.zeros(1)}

    found = ["_modules.inner.table.0", "near.0", "near.1", "near.2", "other.count.all"]
    assert sorted(unregistered(Careless(), "it")) == [f"it.{path}" for path in found]


@pytest.mark.parametrize("kind", MOVING)
def test_everything_moves(kind: type[Any]) -> None:
    module = kind(ENV, replicas=2)
    count, table = len(everything(module)), ENV.index.table
    module.to("meta")
    assert len(everything(module)) == count >= 3
    assert all(tensor.is_meta for tensor in everything(module))
    if isinstance(module, NeighborhoodModule):
        assert all(tensor.is_meta for tensor in module.neighborhood)
    assert ENV.index.table is table
    assert not table.is_meta


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module))])
@pytest.mark.parametrize("kind", MOVING)
def test_copies_are_whole_and_their_own(kind: type[Any], copied: Callable[[Any], Any]) -> None:
    module = kind(ENV, replicas=2)
    other = copied(module)
    s, a, _ = random_inputs(ENV, 2, 0)
    given = (s, a) if hasattr(module, "q") else (s,)
    seen = [each.q(*given) if hasattr(each, "q") else each.log_probs(*given) for each in (module, other)]
    assert torch.equal(*seen)
    mine, theirs = ([tensor.data_ptr() for tensor in everything(each)] for each in (module, other))
    assert not {*mine} & {*theirs} - {0}


def test_the_critic_shares_the_numbers_of_pairs_while_it_is_where_they_are() -> None:
    critic = NeuralCritic(ENV, kappa=1).to("cpu")
    for name, table in ENV.index.named_buffers():
        assert critic.pair_index.get_buffer(name) is table
    s, a, _ = random_inputs(ENV, 1, 0)
    assert torch.equal(critic.pair_index.pairs(s, a), ENV.index.pairs(s, a))
    assert ENV.index.pairs(s.to("meta"), a.to("meta")).is_meta  # anywhere, at the price of a copy
    assert ENV.index.choices(s.to("meta")).is_meta


@pytest.mark.parametrize("kind", CRITICS)
def test_critics_meet_no_tensor_of_another_device(kind: type[Any]) -> None:
    critic = kind(ENV, kappa=1, replicas=2).to("meta")
    s, a = (part.view(3, 2, 6) for part in random_inputs(ENV, 6, 0)[:2])
    q = critic.q(s, a)
    assert q.is_meta
    assert q.shape == (3, 2, 6)
    assert critic.advantage(q).is_meta
    assert critic.distance(q, critic.centered(torch.zeros(3, 2, 6))).is_meta
    if kind in (AdditiveCritic, NeuralCritic, PairwiseCritic):
        assert critic.counterfactual(s, a).is_meta


@pytest.mark.parametrize("kind", concrete(policies))
def test_policies_meet_no_tensor_of_another_device(kind: type[Any]) -> None:
    policy = kind(ENV, replicas=2).to("meta")
    s, a = (part.view(3, 2, 6) for part in random_inputs(ENV, 6, 0)[:2])
    assert policy.log_prob(s, a).is_meta
    assert policy.entropy(s).shape == (3, 2, 6)


def trainer(device: str, parts: Parts) -> Any:
    kind, policy, critic, options = parts
    rollout = {"rollout": 8} if issubclass(kind, BatchedActorCritic) else {}
    sizes = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(0.1 if kind is KappaHopPPO else 1.0)}
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
