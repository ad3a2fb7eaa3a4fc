"""ALOHA against hand computations: weights, the grid of send probabilities, and what it refuses."""

import math

import pytest
import torch

from marl.core.errors import ConfigError
from marl.envs import WirelessAccess
from marl.envs.wireless import Aloha
from tests.contracts.test_environment_contract import Rumor
from tests.policies.test_policies import mixed


def test_aloha_by_hand() -> None:
    """Point 0 has two users and q = 0.8, point 1 three users and q = 0.3, point 2 none of use (q = 0)."""
    env = WirelessAccess(incidence=[[0], [0, 1], [1, 2], [1], [2]], deadline=2, success=[0.8, 0.3, 0.0], instance_seed=1)
    x, first = 0.6, 0.4 / (0.4 + 0.1)
    one = [1 - x, x, 0.0]
    expected = torch.tensor([one, [1 - x, x * first, x * (1 - first)], one, one, [1.0, 0.0, 0.0]], dtype=torch.float64)
    aloha = Aloha(env, send_probability=x)
    for state in (1, 2, 3):
        torch.testing.assert_close(aloha.probs(torch.full((1, 5), state))[0], expected, rtol=0, atol=1e-15)
    assert aloha.probs(torch.zeros(1, 5, dtype=torch.int64))[0].tolist() == [[1.0, 0.0, 0.0]] * 5
    slots = WirelessAccess(incidence=[[0], [0, 1]], deadline=2, success=[0.8, 0.3], action_set="any_slot")
    found = Aloha(slots, send_probability=x).probs(torch.tensor([[2, 3]]))[0].flatten().tolist()
    near = 0.4 / (0.4 + 0.3)
    assert found == pytest.approx([1 - x, 0, x, 0, 0, 1 - x, x * near, x * (1 - near), 0, 0])  # slot 2, then slot 1


def test_aloha_scans_a_grid_with_one_replica_each() -> None:
    env = mixed("earliest")
    grid = [0.0, 0.25, 1.0]
    s = torch.where(env.num_states > 1, 1, 0).expand(3, -1)
    probs = Aloha(env, send_probability=grid, replicas=3).probs(s)
    for b, x in enumerate(grid):
        assert probs[b, :, 0].tolist() == pytest.approx([1 - x] * env.n, abs=1e-15)
        assert torch.equal(probs[b], Aloha(env, send_probability=x).probs(s[:1])[0])
    never, always = Aloha(env, send_probability=0.0), Aloha(env, send_probability=1.0)
    u = torch.rand(1, env.n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert never.sample(s[:1], u).tolist() == [[0] * env.n]
    assert (always.sample(s[:1], u) > 0).all()
    assert never.entropy(s[:1]).tolist() == [[0.0] * env.n]


def test_aloha_is_silent_where_nothing_can_be_sent() -> None:
    for action_set in ("earliest", "any_slot"):
        env = mixed(action_set)
        always = Aloha(env, send_probability=1.0)
        assert always.probs(torch.zeros(1, env.n, dtype=torch.int64))[..., 0].tolist() == [[1.0] * env.n]
    dead = WirelessAccess(incidence=[[0], [0, 1]], deadline=1, success=[0.0, 0.5])
    assert Aloha(dead, send_probability=1.0).probs(torch.ones(1, 2, dtype=torch.int64))[0].tolist() == [
        [1, 0, 0],
        [0, 0, 1],
    ]


@pytest.mark.parametrize("bad", [-0.1, 1.1, math.nan, [0.1, 0.2, 0.3]])
def test_aloha_refuses_what_is_no_probability(bad: float | list[float]) -> None:
    with pytest.raises(ConfigError, match=r"policy.send_probability"):
        Aloha(mixed("earliest"), send_probability=bad, replicas=2)


def test_aloha_needs_access_points() -> None:
    with pytest.raises(ConfigError, match=r"policy=aloha needs access points to send to .*; Rumor has none"):
        Aloha(Rumor())


def test_rounding_never_takes_an_action_of_probability_zero() -> None:
    """float32 probabilities may sum to less than the largest uniform; point 1 is dead, so ALOHA never sends to it."""
    env = WirelessAccess(incidence=[[0, 1]], deadline=1, success=[1.0, 0.0])
    policy = Aloha(env, send_probability=[(b + 1) / 41 for b in range(40)], replicas=40, dtype=torch.float32)
    s, u = torch.ones(40, 1, dtype=torch.int64), torch.full((40, 1), 1.0 - 2.0**-53, dtype=torch.float64)
    taken = policy.probs(s).gather(-1, policy.sample(s, u).unsqueeze(-1)).flatten()
    assert taken.min() > 0.0
