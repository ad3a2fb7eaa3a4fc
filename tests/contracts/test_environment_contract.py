"""The kit of environments passes one that derives its sampler, and sees what is broken in others."""

from collections.abc import Callable
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor

from marl.core.environment import Environment, NetworkedMDP
from marl.core.errors import ConfigError, ContractError
from marl.core.network import Network
from marl.testing import check_environment
from tests.contracts.test_fused_step import Coin, coin


class Rumor(NetworkedMDP):
    """Three agents on a line with 2, 3, 2 states and 2, 1, 3 actions: tables over own pair and neighbors' states."""

    def __init__(self, network: Network | None = None, **facts: object):
        sizes, actions = torch.tensor([2, 3, 2]), torch.tensor([2, 1, 3])
        mask = (torch.arange(3) < sizes[:, None])[:, :, None] & (torch.arange(3) < actions[:, None])[:, None, :]
        mask[2, 1, 0] = False
        known: dict[str, object] = {
            "num_states": sizes,
            "num_actions": actions,
            "action_mask": mask,
            "num_uniforms": 1,
            "reward_range": (0.0, 1.0),
            "private_actions": True,
            "private_rewards": True,
        }
        super().__init__(network or Network.line(3), **(known | facts))  # type: ignore[arg-type]
        draw = torch.Generator().manual_seed(0)
        weight = torch.rand(3, 3, 3, 5, 3, generator=draw, dtype=torch.float64)  # [i, s_i, a_i, sum of neighbors' s, s_i']
        weight[[0, 2], ..., 2] = 0.0
        self.law = weight / weight.sum(dim=-1, keepdim=True)
        self.rewards = torch.rand(3, 3, 3, generator=draw, dtype=torch.float64)

    def around(self, s: Tensor) -> Tensor:
        return torch.stack([s[..., 1], s[..., 0] + s[..., 2], s[..., 1]], dim=-1)

    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        return self.law[torch.arange(3), s, a, self.around(s)]

    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        return self.rewards[torch.arange(3), s, a]

    def _reset(self, u: Tensor) -> Tensor:
        return (u[..., 0] * self.num_states).long()


class SeesTooFar(Rumor):
    def around(self, s: Tensor) -> Tensor:
        return s[..., :1] + s[..., 2:] + torch.zeros_like(s)


class ActsOnOthers(Rumor):
    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        return super()._transition(s, a[..., [1, 0, 1]])


class SamplesAnotherLaw(Rumor):
    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        return super()._step(s, a, u.square())


class PaysAnotherReward(Rumor):
    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        return super()._step(s, a, u)[0], 0.9 * self._reward(s, a)


class Remembers(Rumor):
    calls = 0

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        return super()._step(s, a, (u + 0.1 * self.calls) % 1.0)


class ChangesItsInput(Rumor):
    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        s_next, r = super()._step(s, a, u)
        s.copy_(s_next)
        return s_next, r


class MixesTheBatch(Rumor):
    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        return super()._step(s, a, (u + u.sum(dim=0)) % 1.0)


class PaysForOthers(Rumor):
    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        return super()._reward(s[..., [1, 0, 1]].clamp(max=1), a)


class MovesTogether(Rumor):
    """Agents 0 and 1 share their noise."""

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        return super()._step(s, a, u[:, [1, 1, 2]])


class StartsNowhere(Rumor):
    def _reset(self, u: Tensor) -> Tensor:
        return 2 - torch.zeros_like(u[..., 0]).long()


class StartsInHalves(Rumor):
    def _reset(self, u: Tensor) -> Tensor:
        return u[..., 0]


class LeavesItsStates(Rumor):
    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full_like(s, 2), self._reward(s, a)


class PaysInFloat32(Rumor):
    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        return super()._step(s, a, u)[0], self._reward(s, a).float()


class Denies(Rumor):
    def _contains(self, s: Tensor, a: Tensor) -> bool:
        return False


class LosesProbability(Rumor):
    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        return 0.9 * super()._transition(s, a)


class OwesProbability(Rumor):
    """The derived sampler cannot tell; the first probability is below 0."""

    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        law = super()._transition(s, a)
        owed = torch.zeros_like(law)
        owed[..., 0], owed[..., 1] = -law[..., 0] - 0.1, law[..., 0] + 0.1
        return law + owed


class MovesIntoPadding(Rumor):
    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        law = super()._transition(s, a).clone()
        law[..., 0, 2], law[..., 0, 1] = law[..., 0, 1], 0.0
        return law


class LawInFloat32(Rumor):
    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        return super()._transition(s, a).float()


class ExpectsMore(Rumor):
    """Expected rewards leave the range that the rewards keep."""

    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        return super()._reward(s, a) + 1.0

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        return super()._step(s, a, u)[0], self._reward(s, a) - 1.0


class CountsAxes(Rumor):
    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        return super()._transition(s, a if s.ndim < 3 else a * 0)


def test_a_right_one_passes() -> None:
    check_environment(Rumor())


LINE = "agents that are not its neighbors"


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (Remembers, "the next state of `step` of Remembers is another one when it is asked again"),
        (ChangesItsInput, "ChangesItsInput changes its input s; `step` and `reset` must leave it alone"),
        (MixesTheBatch, "the next state of `step` of MixesTheBatch in row .* is not that of the row alone"),
        (SeesTooFar, f"the transition of agent . of SeesTooFar changes with {LINE}|the next state .* {LINE}"),
        (lambda: Rumor(network=Network.from_edges(3, [(0, 1)])), f"agent 1 of Rumor changes with {LINE}"),
        (
            ActsOnOthers,
            "the next state of agent 1 of ActsOnOthers changes with .*, but it says private_actions",
        ),
        (PaysForOthers, "the reward of agent 0 of PaysForOthers changes with what others do, but it says private_rewards"),
        (lambda: Rumor(reward_range=(0.0, 0.5)), r"rewards of Rumor go from .* but its reward_range is \(0.0, 0.5\)"),
        (lambda: Rumor(reward_range=(1.0, 0.0)), "reward_range of Rumor is .* which must rise"),
        (StartsNowhere, "`reset` of StartsNowhere gives states that do not exist"),
        (LeavesItsStates, "`step` of LeavesItsStates gives states that do not exist"),
        (PaysInFloat32, r"`step` of PaysInFloat32 gives rewards \[64, 3\] torch.float32"),
        (Denies, "Denies.contains denies states and legal actions that it has"),
        (LawInFloat32, r"transition of LawInFloat32 is \[64, 3, 3\] torch.float32"),
        (
            LosesProbability,
            "next states of LosesProbability do not sum to 1: at row 0, agent 0 it is 0.9",
        ),
        (OwesProbability, "transition of OwesProbability has the probability -0.1"),
        (MovesIntoPadding, "MovesIntoPadding gives states that do not exist a probability"),
        (ExpectsMore, "expected rewards of ExpectsMore leave its reward_range"),
        (CountsAxes, "transition of CountsAxes is another one with 2 axes in front of the agents"),
        (SamplesAnotherLaw, "next states of SamplesAnotherLaw at s = .* do not follow `transition`: at agent"),
        (MovesTogether, "next states of MovesTogether at s = .* are not independent over agents"),
        (PaysAnotherReward, "the mean of the rewards of PaysAnotherReward at s = .* is not `reward`: at agent"),
        (lambda: Coin(coin(1)), "Coin, sample .*: next states"),
    ],
)
def test_the_kit_sees_a_broken_one(monkeypatch: pytest.MonkeyPatch, build: Callable[[], Environment], words: str) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ContractError, match=words):
        check_environment(build())


class Drift(Environment):
    """Three agents on a line have a point each, which actions push; neighbors are pushed along by `far` hops."""

    def __init__(self, far: int = 1):
        facts: Any = {"num_uniforms": 2, "reward_range": (-9.0, 0.0), "private_actions": False, "private_rewards": True}
        super().__init__(Network.line(3), **facts)
        index = torch.arange(3)
        self.near = ((index - index[:, None]).abs() <= far).double()

    def _reset(self, u: Tensor) -> Tensor:
        return u - 0.5

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        pushed = (self.near[:, :, None] * a[:, None]).sum(dim=2)
        return 0.5 * s + 0.1 * pushed + 0.1 * u, -s.square().sum(dim=-1)


def pushes(s: Tensor, generator: torch.Generator) -> Tensor:
    return torch.rand(s.shape, generator=generator, dtype=torch.float64)


def test_states_of_a_finite_environment_are_whole_numbers() -> None:
    """The environment refuses by itself what its `_reset` gives: nobody is handed it."""
    with pytest.raises(ConfigError, match="the states of StartsInHalves must be whole numbers, got a Tensor of float64"):
        check_environment(StartsInHalves())


def test_states_may_be_vectors() -> None:
    check_environment(Drift(), draw_actions=pushes)
    with pytest.raises(ContractError, match=f"the next state of `step` of agent 0 of Drift changes with {LINE}"):
        check_environment(Drift(far=2), draw_actions=pushes)
    with pytest.raises(ConfigError, match=r"actions of Drift are not numbered; give check_environment\(draw_actions=...\)"):
        check_environment(Drift())


def test_derived_sampler_inverts_the_distribution_function() -> None:
    env = Rumor()
    s, a = torch.tensor([[1, 2, 1]]).expand(201, 3), torch.tensor([[0, 0, 2]]).expand(201, 3)
    grid = torch.linspace(0.0, 1.0 - 2.0**-53, 201, dtype=torch.float64)
    s_next, r = env.step(s, a, grid[:, None, None].expand(201, 3, 1))
    cdf = env.transition(s, a)[0].cumsum(dim=-1)
    for i in range(3):
        assert s_next[:, i].tolist() == [
            next(x for x in range(3) if u < cdf[i, x] or x + 1 == env.num_states[i]) for u in grid
        ]
    assert torch.equal(r, env.reward(s, a))


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (torch.ones(3, 3, 2, dtype=torch.bool), r"Rumor: action_mask must have shape \(3, 3, 3\), got \(3, 3, 2\)"),
        (torch.ones(3, 3, 3, dtype=torch.bool), "Rumor: action_mask allows a padded state or action"),
        (torch.zeros(3, 3, 3, dtype=torch.bool), "Rumor: every state needs at least one legal action"),
    ],
)
def test_contradicting_facts_are_refused(mask: Tensor, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Rumor(action_mask=mask)
