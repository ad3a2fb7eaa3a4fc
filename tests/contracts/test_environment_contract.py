"""The environment contract, applied to ours, to one that derives its sampler, and to ones that break it."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs import WirelessAccess
from tests.contracts.environment import check_environment


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


@pytest.mark.parametrize(
    "env",
    [
        Rumor(),
        WirelessAccess(rows=2, cols=3, deadline=[1, 2, 3, 1, 2, 3]),
        WirelessAccess(rows=2, cols=2, access_points="corners", users_per_cell=2),
        WirelessAccess(incidence=[[0], [0, 1], [1], [1, 2]], deadline=[1, 2, 2, 1], action_set="any_slot"),
        WirelessAccess(incidence=[[0, 1], [2]], deadline=2, arrival=[0.0, 1.0], success=1.0),
    ],
    ids=["derived sampler", "interior", "corners", "any slot", "alone"],
)
def test_environment(env: NetworkedMDP) -> None:
    check_environment(env)


class PaysForOthers(Rumor):
    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        return super()._reward(s[..., [1, 0, 1]].clamp(max=1), a)


@pytest.mark.parametrize(
    ("build", "check"),
    [
        (SeesTooFar, "check_only_neighbors_matter"),
        (ActsOnOthers, "check_privacy"),
        (PaysForOthers, "check_privacy"),
        (SamplesAnotherLaw, "check_samples_follow_the_law"),
        (PaysAnotherReward, "check_samples_follow_the_law"),
        (Remembers, "check_purity"),
        (ChangesItsInput, "check_purity"),
        (MixesTheBatch, "check_rows_are_independent"),
        (lambda: Rumor(reward_range=(0.0, 0.5)), "check_shapes_and_ranges"),
        (lambda: Rumor(network=Network.from_edges(3, [(0, 1)])), "check_only_neighbors_matter"),
    ],
)
def test_the_kit_catches_a_broken_environment(build: Callable[[], Rumor], check: str) -> None:
    with pytest.raises(AssertionError) as raised:
        check_environment(build())
    assert check in [entry.name for entry in raised.traceback]


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
