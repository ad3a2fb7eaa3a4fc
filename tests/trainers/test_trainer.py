"""What the trainer refuses, reports and survives."""

import functools
import logging
import pickle
from typing import Any

import pytest
import torch
from torch.optim import SGD

from marl.core.errors import CheckpointError, ConfigError, DivergedError
from marl.core.scheduler import Scheduler
from marl.critics import NeuralCritic, TabularCritic
from marl.envs import WirelessAccess
from marl.envs.wireless import Aloha
from marl.policies import NeuralPolicy, TabularSoftmax
from marl.schedulers import Constant
from marl.trainers import RolloutActorCritic, ScalableActorCritic

SIZES = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(3.0)}


def make(env: WirelessAccess, **changes: object) -> ScalableActorCritic:
    return ScalableActorCritic(env, TabularSoftmax(env), TabularCritic(env), **{**SIZES, **changes})


def test_auto_says_what_it_took(small: WirelessAccess, caplog: pytest.LogCaptureFixture) -> None:
    assert make(small, engine="fused").engine == "fused"
    with caplog.at_level(logging.INFO):
        assert make(small, engine="auto").engine == "fused"
    assert "engine: fused" in caplog.text


def test_replicas_must_agree(small: WirelessAccess) -> None:
    with pytest.raises(ConfigError, match="2 replicas and the critic 3"):
        ScalableActorCritic(small, TabularSoftmax(small, replicas=2), TabularCritic(small, replicas=3), **SIZES)


def test_rescaling_needs_a_critic_that_knows_its_norm(small: WirelessAccess) -> None:
    with pytest.raises(ConfigError, match="only a table knows, and NeuralCritic is none"):
        ScalableActorCritic(small, TabularSoftmax(small), NeuralCritic(small), **SIZES, rescale=True)


def test_divergence_names_the_first_bad_step_and_replica(small: WirelessAccess) -> None:
    trainer = ScalableActorCritic(
        small, TabularSoftmax(small, replicas=3), TabularCritic(small, replicas=3), **SIZES, log_every=50
    )
    trainer.run(70)
    trainer.policy.theta.data[1] = torch.nan
    with pytest.raises(DivergedError, match=r"step 70: .* replica 1;") as caught:
        trainer.run(60)
    assert caught.value.step == 70
    assert caught.value.replicas == [1]


class Overpaid(WirelessAccess):
    """Agent 2 of replica 1 gets more than there is whenever it is in state 3."""

    def _step(self, s: torch.Tensor, a: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        following, r = super()._step(s, a, u)
        r[1, 2] += torch.inf if s[1, 2] == 3 else 0.0
        return following, r


def test_divergence_names_the_agent_whose_reward_it_was() -> None:
    env = Overpaid(rows=2, cols=3, access_points="interior", instance_seed=3)
    trainer = ScalableActorCritic(env, TabularSoftmax(env, replicas=2), TabularCritic(env, replicas=2), **SIZES)
    words = "the reward of agent 2 stopped being finite in replica 1; look at what Overpaid pays"
    with pytest.raises(DivergedError, match=words) as caught:
        trainer.run(3000)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # a job sends it to its sweep


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_divergence_names_what_was_learned(small: WirelessAccess, engine: str) -> None:
    with pytest.raises(DivergedError, match=r"the error of the critic .* replica 0; try smaller step sizes"):
        make(small, engine=engine, critic_scheduler=Constant(1e200), actor_scheduler=Constant(0.0)).run(100)
    trainer = make(small, engine=engine)
    trainer.policy.theta.data[0, 1] = torch.nan
    with pytest.raises(DivergedError, match=r"the gradient of the policy .* replica 0; try smaller step sizes"):
        trainer.run(100)


@pytest.mark.parametrize("log_every", [1, 50, 500])
def test_the_step_of_divergence_does_not_depend_on_the_log_points(small: WirelessAccess, log_every: int) -> None:
    """One bad row of theta: it shows when agent 1 is first in state 3, and many later steps look finite again."""
    twin, trainer = make(small), make(small, log_every=log_every)
    twin.run(70)
    while twin.s[0, 1] != 3:
        twin.run(1)
    trainer.run(70)
    trainer.policy.theta.data[0, 1, 3] = torch.nan
    with pytest.raises(DivergedError) as caught:
        trainer.run(600)
    assert caught.value.step == twin.t


@pytest.mark.parametrize("sizes", [(1e200, 3.0), (5.0, 0.0)])
def test_huge_step_sizes_diverge_cleanly(small: WirelessAccess, sizes: tuple[float, float]) -> None:
    alpha, eta = map(Constant, sizes)
    with pytest.raises(DivergedError, match="smaller step sizes"):
        make(small, critic_scheduler=alpha, actor_scheduler=eta).run(3000)


def test_a_policy_without_parameters_is_evaluated(small: WirelessAccess) -> None:
    trainer = ScalableActorCritic(small, Aloha(small, send_probability=0.7), TabularCritic(small), **SIZES)
    trainer.run(200)
    assert trainer.critic.mu.mean() > 0.05
    assert trainer.critic.table.values.abs().max() > 0.1


def test_a_frozen_actor_stays(small: WirelessAccess) -> None:
    trainer = make(small, actor_scheduler=Constant(0.0))
    trainer.run(100)
    assert torch.equal(trainer.policy.theta, torch.zeros_like(trainer.policy.theta))


def make_neural_with_adam(env: WirelessAccess) -> ScalableActorCritic:
    adam = functools.partial(torch.optim.Adam, betas=(0.0, 0.99))
    small_steps = {"critic_scheduler": Constant(0.01), "actor_scheduler": Constant(0.01)}
    return ScalableActorCritic(
        env, NeuralPolicy(env), NeuralCritic(env), critic_optimizer=adam, actor_optimizer=adam, **small_steps
    )


def test_optimizers_can_be_exchanged_and_their_state_is_kept(small: WirelessAccess) -> None:
    trainer, again = make_neural_with_adam(small), make_neural_with_adam(small)
    trainer.run(50)
    again.load_state_dict(trainer.state_dict())
    for resumed in (trainer, again):
        resumed.run(20)
    assert torch.equal(trainer.policy.weight, again.policy.weight)
    assert trainer.policy.weight.abs().max() > 0


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_plain_sgd_keeps_nothing(small: WirelessAccess, engine: str) -> None:
    """Checkpoints of former versions hold its empty state, and are read."""
    trainer, again = make(small, engine=engine), make(small, engine=engine)
    trainer.run(20)
    state = trainer.state_dict()
    assert not any(name.endswith("optimizer") for name in state)
    again.load_state_dict({**state, "critic_optimizer": SGD(again.critic.parameters(), lr=0.5).state_dict()})
    for resumed in (trainer, again):
        resumed.run(20)
    assert torch.equal(trainer.policy.theta, again.policy.theta)


def test_what_another_optimizer_remembers_is_not_passed_over(small: WirelessAccess) -> None:
    trainer = make(small, actor_optimizer=functools.partial(SGD, momentum=0.9))
    trainer.run(20)
    with pytest.raises(CheckpointError, match="its actor_optimizer is not plain SGD"):
        make(small).load_state_dict(trainer.state_dict())


@pytest.mark.parametrize("optimizer", [functools.partial(SGD, momentum=0.5), torch.optim.Adam])
@pytest.mark.parametrize("trainer", [ScalableActorCritic, RolloutActorCritic])
def test_a_critic_refuses_an_optimizer_before_the_first_step(small: WirelessAccess, trainer: Any, optimizer: Any) -> None:
    with pytest.raises(ConfigError, match="TabularCritic is a table, which learns with plain SGD only"):
        trainer(small, TabularSoftmax(small), TabularCritic(small), critic_optimizer=optimizer, **SIZES)


@pytest.mark.parametrize("name", ["critic_scheduler", "actor_scheduler"])
def test_a_first_step_size_below_zero_is_refused(small: WirelessAccess, name: str) -> None:
    class Backwards(Scheduler):
        def _value(self, t: int) -> float:
            return -0.1

    with pytest.raises(ConfigError, match=f"{name} at step 0 .*-0.1"):
        make(small, **{name: Backwards()})


def test_checkpoints_of_other_configurations_are_refused(small: WirelessAccess) -> None:
    state = make(small).state_dict()
    with pytest.raises(CheckpointError, match="seed 0"):
        make(small, seed=1).load_state_dict(state)
    other = ScalableActorCritic(small, TabularSoftmax(small), TabularCritic(small, kappa=1), **SIZES)
    with pytest.raises(CheckpointError, match="another configuration"):
        other.load_state_dict(state)
    neural = ScalableActorCritic(small, NeuralPolicy(small), TabularCritic(small), **SIZES)
    with pytest.raises(CheckpointError, match="another configuration"):
        neural.load_state_dict(state)


@pytest.mark.parametrize("critic", [TabularCritic, NeuralCritic])
def test_float32(small: WirelessAccess, critic: type[TabularCritic] | type[NeuralCritic]) -> None:
    dtype = torch.float32
    trainer = ScalableActorCritic(small, TabularSoftmax(small, dtype=dtype), critic(small, dtype=dtype, kappa=1), **SIZES)
    trainer.run(100)
    assert {parameter.dtype for parameter in trainer.critic.parameters()} == {dtype}
    assert trainer.critic.mu.dtype == trainer.policy.theta.dtype == dtype
    assert trainer.policy.theta.abs().max() > 0
