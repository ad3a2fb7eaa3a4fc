"""The kinds of environments: one whose states are vectors is one, and who needs numbered states says so."""

import pytest
import torch
from torch import Tensor

from marl import (
    ConfigError,
    Critic,
    Environment,
    FiniteEnvironment,
    Network,
    ParallelEnvironment,
    Uniform,
    WirelessAccess,
    check_fused_step,
)
from marl.core.environment import NetworkedMDP
from marl.core.noise import Noise, Purpose


class Points(Environment):
    """Points in the plane, each drawn to the middle of its neighbors; an action is a push along one axis."""

    def __init__(self) -> None:
        super().__init__(
            Network.line(3), num_uniforms=2, reward_range=(-8.0, 0.0), private_actions=True, private_rewards=True
        )

    def _reset(self, u: Tensor) -> Tensor:
        return 2.0 * u - 1.0

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        around = torch.stack([s[:, 1], (s[:, 0] + s[:, 2]) / 2, s[:, 1]], dim=1)
        moved = 0.5 * s + 0.3 * around + 0.1 * a[..., None] + 0.1 * u
        return moved.clamp(-1.0, 1.0), -s.square().sum(dim=-1)

    def _contains(self, s: Tensor, a: Tensor) -> bool:
        return s.shape[1:] == (3, 2) and s.is_floating_point() and bool((s.abs() <= 1.0).all() and (a.abs() <= 1).all())


class Zero(Critic):
    """Q = 0."""

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        return torch.zeros(s.shape)


def test_states_may_be_vectors() -> None:
    env = Points()
    noise = Noise(0, 4, env.n, env.num_uniforms, Purpose.TRAINING)
    s, a = env.reset(noise(0)), torch.zeros(4, 3, dtype=torch.int64)
    assert (s.shape, s.dtype) == ((4, 3, 2), torch.float64)
    next_s, r = env.step(s, a, noise(1))
    assert (next_s.shape, r.shape) == ((4, 3, 2), (4, 3))
    assert env.contains(next_s, a)
    assert not env.contains(next_s + 2.0, a)
    assert not hasattr(env, "num_states")


@pytest.mark.parametrize("part", [Uniform, Zero, ParallelEnvironment, check_fused_step])
def test_who_needs_numbered_states_says_so(part: type) -> None:
    words = f"{part.__name__} needs numbered states and actions, which Points does not have; .* marl.FiniteEnvironment"
    with pytest.raises(ConfigError, match=words):
        part(Points())


def test_every_kind_is_a_special_case_of_the_one_before() -> None:
    assert issubclass(WirelessAccess, NetworkedMDP)
    assert issubclass(NetworkedMDP, FiniteEnvironment)
    assert issubclass(FiniteEnvironment, Environment)


def test_a_finite_environment_knows_its_joint_states_and_legal_actions() -> None:
    env = WirelessAccess(incidence=[[0], [0, 1], [1]], deadline=[1, 2, 1])  # 2, 4, 2 states and 2, 3, 2 actions
    s, a = torch.tensor([[1, 3, 1], [1, 2, 1]]), torch.tensor([[1, 2, 0], [0, 0, 0]])
    assert env.contains(s, a)
    assert not env.contains(s.double(), a)
    assert not env.contains(s, a.int())
    assert not env.contains(s[:, :2], a[:, :2])
    assert not env.contains(s, a[:1])
    for wrong_s in (torch.tensor([2, 0, 0]), torch.tensor([0, -1, 0])):
        assert not env.contains(wrong_s[None], torch.zeros(1, 3, dtype=torch.int64))
    for wrong_a in (torch.tensor([2, 0, 0]), torch.tensor([0, -1, 0]), torch.tensor([0, 0, 2])):
        assert not env.contains(torch.ones(1, 3, dtype=torch.int64), wrong_a[None])
    assert not env.contains(torch.zeros(1, 3, dtype=torch.int64), torch.ones(1, 3, dtype=torch.int64))  # empty queues
