"""Thousands of agents learn in seconds and in little memory."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch

from marl.critics import NeuralCritic, PairwiseCritic
from marl.envs import WirelessAccess
from marl.policies import NeighborhoodSoftmax, NeuralPolicy
from marl.schedulers import Constant
from marl.trainers import RolloutActorCritic

GIB = 2**30


def most_resident() -> int:
    """The most bytes that this process has had in memory since `forget` (Linux)."""
    (line,) = (text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def forget() -> None:
    """Lets `most_resident` begin anew; where that is not allowed, it goes on from the start of the process."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


@pytest.mark.parametrize(("policy", "critic"), [(NeuralPolicy, NeuralCritic), (NeighborhoodSoftmax, PairwiseCritic)])
def test_rollouts_of_2500_agents(policy: type[Any], critic: type[Any]) -> None:
    """Three updates: layers that follow one another start to move one after the other, the critic's before the policy's."""
    forget()
    env = WirelessAccess(rows=50, cols=50)
    trainer = RolloutActorCritic(
        env,
        policy(env),
        critic(env, kappa=1),
        rollout=8,
        critic_scheduler=Constant(0.1),
        actor_scheduler=Constant(1000.0),
    )
    learned = [*trainer.policy.parameters(), *trainer.critic.parameters()]
    before = [parameter.detach().clone() for parameter in learned]
    trainer.run(3 * 8)
    for parameter, held in zip(learned, before, strict=True):
        assert bool(parameter.isfinite().all())
        assert not torch.equal(parameter, held)
    assert trainer.s.shape == (1, 2500)
    assert most_resident() < 3 * GIB
