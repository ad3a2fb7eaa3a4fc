"""Policies and critics go with environments of the network, sizes and legal actions they were made for, or not at all."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from marl import (
    CertaintyEquivalence,
    CheckpointError,
    Coloring,
    ConfigError,
    Constant,
    DiscountedActorCritic,
    FiniteEnvironment,
    KappaHopPPO,
    LocalizedPolicyIteration,
    NeighborhoodTable,
    Network,
    RolloutActorCritic,
    ScalableActorCritic,
    StateValue,
    TabularCritic,
    TabularSoftmax,
    WirelessAccess,
    evaluate,
)
from marl.exact import AverageValues, Chain, JointPairs, critic_error, critic_fixed_point, survey
from marl.trainers.trainer import Trainer

STEPS = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(1.0)}


class Masked(FiniteEnvironment):
    """Three agents with two states and two actions; agent 1 in state 1 lacks the action `without`."""

    def __init__(self, without: int):
        mask = torch.ones(3, 2, 2, dtype=torch.bool)
        mask[1, 1, without] = False
        facts: dict[str, Any] = {"reward_range": (0.0, 0.0), "private_actions": True, "private_rewards": True}
        super().__init__(
            Network.line(3), num_states=[2] * 3, num_actions=[2] * 3, action_mask=mask, num_uniforms=1, **facts
        )

    def _reset(self, u: Tensor) -> Tensor:
        return (u[..., 0] < 0.5).long()

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        return 1 - s, torch.zeros_like(u[..., 0])


def wireless(rows: int = 2, **changed: Any) -> WirelessAccess:
    return WirelessAccess(rows=rows, cols=3, access_points="corners", **changed)


APART: dict[str, tuple[Callable[[], FiniteEnvironment], Callable[[], FiniteEnvironment], str]] = {
    "smaller": (lambda: wireless(1), wireless, "it has 3 agents, not 6"),
    "larger": (wireless, lambda: wireless(1), "it has 6 agents, not 3"),
    "fewer states": (wireless, lambda: wireless(deadline=3), "agent 0 has 4 states there and 8 here"),
    "more states": (lambda: wireless(deadline=[2, 2, 3, 2, 2, 2]), wireless, "agent 2 has 8 states there and 4 here"),
    "actions": (wireless, lambda: wireless(action_set="any_slot"), "agent 0 has 5 actions there and 9 here"),
    "legal actions": (lambda: Masked(0), lambda: Masked(1), "agent 1 may take action 0 in state 1 here and not there"),
    "neighbors": (
        lambda: Coloring("line:4"),
        lambda: Coloring("ring:4"),
        "agents 0 and 3 are neighbors here and not",
    ),
    "no neighbors": (lambda: Coloring("ring:4"), lambda: Coloring("line:4"), "agents 0 and 3 are neighbors there and not"),
}
TRAINERS: dict[str, Callable[..., Trainer]] = {
    "scalable": ScalableActorCritic,
    "discounted": DiscountedActorCritic,
    "rollout": RolloutActorCritic,
    "ppo": KappaHopPPO,
    "policy iteration": LocalizedPolicyIteration,
    "certainty equivalence": CertaintyEquivalence,
}


@pytest.mark.parametrize("name", APART)
def test_parts_of_two_environments_are_refused(name: str) -> None:
    """... with what differs, before anything is touched."""
    made_for, used_in, what = APART[name]
    one, other = made_for(), used_in()
    for make in TRAINERS.values():
        critic = StateValue if make in (KappaHopPPO, LocalizedPolicyIteration, CertaintyEquivalence) else TabularCritic
        there = critic(one)
        objective = there.objective
        with pytest.raises(ConfigError, match=rf"this {critic.__name__} was made for another .*{what}"):
            make(other, NeighborhoodTable(other, kappa=0), there, **STEPS)
        assert there.objective is objective
        with pytest.raises(ConfigError, match=rf"this NeighborhoodTable was made for another .*{what}"):
            make(other, NeighborhoodTable(one, kappa=0), critic(other), **STEPS)
    with pytest.raises(ConfigError, match=what):
        evaluate(other, TabularSoftmax(one), steps=20)


@pytest.mark.parametrize("name", [name for name in APART if name not in ("smaller", "larger")])
def test_the_state_of_another_environment_is_refused_as_a_whole(name: str) -> None:
    one, other = APART[name][0](), APART[name][1]()
    there, here = (ScalableActorCritic(env, TabularSoftmax(env), TabularCritic(env), **STEPS) for env in (one, other))
    there.run(50)
    before = here.state_dict()
    with pytest.raises(CheckpointError, match="another configuration: its network, its numbers of states"):
        here.load_state_dict(there.state_dict())
    after = here.state_dict()
    assert torch.equal(after["policy"]["theta"], before["policy"]["theta"])
    assert after["t"] == 0
    again = ScalableActorCritic(one, TabularSoftmax(one), TabularCritic(one), **STEPS)
    again.load_state_dict(there.state_dict())
    assert again.t == 50


@pytest.mark.parametrize("name", ["smaller", "fewer states", "neighbors"])
def test_exact_numbers_of_another_policy_are_refused(name: str) -> None:
    made_for, used_in, what = APART[name]
    env, policy = used_in(), TabularSoftmax(made_for())
    for ask in (Chain, survey):
        with pytest.raises(ConfigError, match=what):
            ask(env, policy)  # type: ignore[operator]


def test_another_law_on_the_same_network_is_welcome() -> None:
    """A policy that was trained where packets are rare is evaluated, improved and analyzed where they are many."""
    rare, many = wireless(1, arrival=0.1, success=0.5), wireless(1, arrival=0.9, success=0.5)
    there = ScalableActorCritic(rare, TabularSoftmax(rare), TabularCritic(rare), **STEPS)
    there.run(50)
    own = TabularSoftmax(many)
    own.load_state_dict(there.policy.state_dict())
    assert torch.equal(evaluate(many, there.policy, steps=200).segments, evaluate(many, own, steps=200).segments)
    assert torch.equal(AverageValues(Chain(many, there.policy)).J, AverageValues(Chain(many, own)).J)
    for engine in ("fused", "autograd"):
        here = ScalableActorCritic(many, there.policy, there.critic, engine=engine, **STEPS)
        here.run(20)
        assert here.env is many


def test_the_fixed_point_of_another_critic_is_refused() -> None:
    env = wireless(1, arrival=0.5, success=0.5)
    chain = Chain(env, TabularSoftmax(env))
    joint = JointPairs(chain)
    at_none, at_one = (critic_fixed_point(chain, 0, kappa) for kappa in (0, 1))
    assert critic_error(joint, 0, 1, at_one) >= 0.0
    with pytest.raises(ConfigError, match="the fixed point of agent 0 at kappa=1 has shape"):
        critic_error(joint, 0, 1, at_none)
