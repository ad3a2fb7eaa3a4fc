"""Sizes, masks, states, actions, edges and counts are whole numbers of any kind, or refused in a sentence."""

from collections.abc import Callable
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor

from marl import (
    AdditiveCritic,
    Coloring,
    ConfigError,
    Constant,
    FiniteEnvironment,
    GraphCritic,
    NeighborhoodSoftmax,
    Network,
    NetworkError,
    NeuralCritic,
    NeuralPolicy,
    RandomFeatures,
    ScalableActorCritic,
    SharedCritic,
    SharedPolicy,
    TabularCritic,
    TabularSoftmax,
    WirelessAccess,
    random_local_mdp,
)

KINDS: dict[str, Callable[[Tensor], Any]] = {
    "int32": Tensor.int,
    "int16": Tensor.short,
    "uint8": Tensor.byte,
    "numpy int32": lambda x: x.numpy().astype(np.int32),
    "numpy uint8": lambda x: x.numpy().astype(np.uint8),
    "numpy uint64": lambda x: x.numpy().astype(np.uint64),
    "numpy big endian": lambda x: x.numpy().astype(">i4"),
    "lists": Tensor.tolist,
}
ENVIRONMENTS = {
    "wireless": lambda: WirelessAccess(rows=4, cols=5, access_points="corners", deadline=3),
    "coloring": lambda: Coloring("ring:20", 4),
    "tables": lambda: random_local_mdp(graph="line:4", instance_seed=0),
}
PARTS = (TabularSoftmax, NeuralPolicy, SharedPolicy, NeighborhoodSoftmax)
CRITICS = (TabularCritic, NeuralCritic, SharedCritic, GraphCritic, AdditiveCritic, RandomFeatures)


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No type checks of the test session: what a user sees."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


class Flips(FiniteEnvironment):
    """Three agents with 2, 3 and 2 states, which count up; states are given back as `kind` makes them."""

    def __init__(self, kind: Callable[[Tensor], Any], **changed: Any):
        sizes, mask = torch.tensor([2, 3, 2]), torch.ones(3, 3, 2, dtype=torch.long)
        mask[0, 2] = mask[2, 2] = 0
        self._kind = kind
        facts = {"num_states": kind(sizes), "num_actions": kind(torch.full((3,), 2)), "action_mask": kind(mask), **changed}
        given: dict[str, Any] = {"reward_range": (0.0, 1.0), "private_actions": True, "private_rewards": True, **facts}
        super().__init__(Network.line(3), num_uniforms=1, **given)

    def _reset(self, u: Tensor) -> Tensor:
        return self._kind((u[..., 0] < 0.5).long())

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        assert s.dtype == a.dtype == torch.int64
        return self._kind((s + a) % self.num_states), a.double()


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_masks_and_states_of_an_environment_of_ones_own(kind: str) -> None:
    env, plain = Flips(KINDS[kind]), Flips(lambda x: x)
    for name in ("num_states", "num_actions", "action_mask", "pair_index"):
        assert torch.equal(getattr(env, name), getattr(plain, name))
    found = []
    for made in (env, plain):
        run = ScalableActorCritic(
            made, TabularSoftmax(made), TabularCritic(made), critic_scheduler=Constant(0.1), actor_scheduler=Constant(1.0)
        )
        run.run(20)
        found.append(run)
    assert torch.equal(found[0].policy.theta, found[1].policy.theta)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_states_and_actions_that_are_asked_about(name: str, kind: str) -> None:
    """Numbers of 8 bits are no masks, and do not overflow."""
    env = ENVIRONMENTS[name]()
    u = torch.rand(3, env.n, env.num_uniforms, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    s = (u[..., 0] * env.num_states).long()
    policies = [make(env, replicas=3) for make in PARTS]
    a = policies[0].sample(s, u[..., -1])
    other_s, other_a = KINDS[kind](s), KINDS[kind](a)
    for mine, theirs in zip(env.step(s, a, u), env.step(other_s, other_a, u), strict=True):
        assert torch.equal(mine, theirs)
    assert torch.equal(env.transition(s, a), env.transition(other_s, other_a))
    assert torch.equal(env.reward(s, a), env.reward(other_s, other_a))
    assert torch.equal(env.index.choices(s), env.index.choices(other_s))
    for policy in policies:
        assert torch.equal(policy.log_prob(s, a), policy.log_prob(other_s, other_a))
        assert torch.equal(policy.sample(s, u[..., -1]), policy.sample(other_s, u[..., -1]))
        assert torch.equal(policy.entropy(s), policy.entropy(other_s))
        assert policy.act(other_s).shape == s.shape
    for make in CRITICS:
        critic = make(env, kappa=1, replicas=3)
        assert torch.equal(critic.q(s, a), critic.q(other_s, other_a))


@pytest.mark.parametrize("count", [np.uint8(20), np.int32(20), np.int64(20), 20.0])
def test_counts_of_parts(count: Any) -> None:
    """20 replicas of 20 agents are 400, which 8 bits do not hold."""
    env = ENVIRONMENTS["coloring"]()
    s = torch.zeros(20, env.n, dtype=torch.int64)
    for make in PARTS:
        policy, plain = make(env, replicas=count), make(env, replicas=20)
        assert policy.replicas == 20
        assert type(policy.replicas) is int
        assert torch.equal(policy.probs(s), plain.probs(s))
    for make in CRITICS:
        critic, plain = make(env, replicas=count, kappa=np.uint8(1)), make(env, replicas=20, kappa=1)
        assert (critic.replicas, critic.kappa, type(critic.kappa)) == (20, 1, int)
        assert torch.equal(critic.q(s, s), plain.q(s, s))


@pytest.mark.parametrize("kind", [*KINDS])
def test_edges_and_nodes(kind: str) -> None:
    """300 nodes: what is made of two of them, or of one and the next, is beyond 8 bits."""
    edges = torch.stack([torch.arange(255), torch.arange(1, 256)], dim=1)
    given = KINDS["int32" if kind == "int16" else kind](edges)
    plain = Network.line(300)
    for network in (Network(300, given), Network.from_edges(np.int32(300), given)):
        assert network.edges.tolist() == plain.edges.tolist()[:255]
        assert network.edges.dtype == np.int64
    assert torch.equal(plain.distances(np.uint8(255)), plain.distances(255))
    assert torch.equal(plain.neighborhood(np.uint8(2)).index, plain.neighborhood(2).index)
    for node in (300, -1, 0.5):
        with pytest.raises(ConfigError, match="node"):
            plain.distances(node)
    with pytest.raises(NetworkError, match="edges must be pairs of node numbers"):
        Network(3, [(0.5, 1.0)])


def test_settings_of_environments_and_critics() -> None:
    plain = WirelessAccess(rows=1, cols=3, access_points="corners", deadline=[1, 2, 3])
    for given in (np.array([1, 2, 3], dtype=np.uint8), torch.tensor([1, 2, 3]), (np.int16(1), 2, np.uint64(3))):
        env = WirelessAccess(rows=np.uint8(1), cols=np.int32(3), access_points="corners", deadline=given)  # type: ignore[arg-type]
        assert torch.equal(env.action_mask, plain.action_mask)
        critic = TabularCritic(plain, kappa=1, dummy=given)  # type: ignore[arg-type]
        assert torch.equal(critic.table._dummy, TabularCritic(plain, kappa=1, dummy=[1, 2, 3]).table._dummy)
    assert torch.equal(TabularCritic(plain, dummy=np.uint8(0)).table._dummy, TabularCritic(plain, dummy=0).table._dummy)  # type: ignore[arg-type]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "sizes that are no numbers": ({"num_states": ["two", 3, 2]}, "num_states must be whole numbers"),
    "sizes that are not whole": ({"num_states": torch.tensor([2.0, 3.0, 2.0])}, "num_states must be whole numbers"),
    "sizes of two agents": ({"num_actions": [2, 2]}, r"a size of at least 1 for each of 3 agents, got shape \[2\]"),
    "a size for all": ({"num_actions": 2}, r"a size of at least 1 for each of 3 agents, got shape \[\]"),
    "no states": ({"num_states": [2, 0, 2]}, "a size of at least 1 for each of 3 agents, got 0"),
    "a mask of counts": ({"action_mask": np.full((3, 3, 2), 2)}, "action_mask must be true and false, or 1 and 0, got 2"),
    "a mask of weights": ({"action_mask": torch.ones(3, 3, 2)}, "action_mask must be whole numbers"),
    "a ragged mask": ({"action_mask": [[[1, 1]], [[1]]]}, "action_mask must be whole numbers, got "),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_size_or_mask_is_refused(name: str) -> None:
    changed, words = REFUSED[name]
    with pytest.raises(ConfigError, match=f"Flips: .*{words}"):
        Flips(lambda x: x, **changed)


def test_what_is_no_state_is_refused() -> None:
    env = ENVIRONMENTS["coloring"]()
    policy, critic = TabularSoftmax(env), TabularCritic(env)
    s, u = torch.zeros(1, env.n), torch.zeros(1, env.n, 1, dtype=torch.float64)
    for ask in (
        lambda: env.step(s, s.long(), u),
        lambda: policy.probs(s),
        lambda: policy.act(["red"] * env.n),
        lambda: critic.q(s.long(), s),
    ):
        with pytest.raises(ConfigError, match=r"must be whole numbers, got "):
            ask()
    halves = Flips(lambda x: x)
    halves._kind = lambda x: x / 2
    with pytest.raises(ConfigError, match=r"the states of Flips must be whole numbers"):
        halves.reset(u[:, :3])


def test_what_is_no_network_is_refused() -> None:
    facts: dict[str, Any] = {"reward_range": (0.0, 1.0), "private_actions": True, "private_rewards": True}
    bare = object.__new__(Flips)
    with pytest.raises(ConfigError, match=r"Flips needs a marl\.Network, got list; Network\.from_edges"):
        FiniteEnvironment.__init__(bare, [(0, 1)], num_states=[2], num_actions=[1], action_mask=[], num_uniforms=1, **facts)  # type: ignore[arg-type]
