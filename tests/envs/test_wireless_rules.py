"""The rules of the wireless network: ALOHA and the dedicated matching against hand computations and loops."""

import itertools
import math
from collections import Counter

import pytest
import torch

from marl.core.errors import ConfigError
from marl.envs import WirelessAccess
from marl.envs.wireless import Aloha, DedicatedMatching, dedicated_matching
from marl.envs.wireless.rules import dedicated_actions, sending_weights
from marl.testing import random_inputs
from marl.trainers.evaluation import evaluate
from marl.trainers.rollout import Collector
from tests import oracles
from tests.conftest import written_out
from tests.contracts.test_environment_contract import Rumor
from tests.envs.test_wireless import ENVS
from tests.policies.test_policies import mixed

SETS = ["earliest", "any_slot"]


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
    with pytest.raises(ConfigError, match="Aloha is a rule for WirelessAccess, not for Rumor"):
        Aloha(Rumor())


def test_rounding_never_takes_an_action_of_probability_zero() -> None:
    """float32 probabilities may sum to less than the largest uniform; point 1 is dead, so ALOHA never sends to it."""
    env = WirelessAccess(incidence=[[0, 1]], deadline=1, success=[1.0, 0.0])
    policy = Aloha(env, send_probability=[(b + 1) / 41 for b in range(40)], replicas=40, dtype=torch.float32)
    s, u = torch.ones(40, 1, dtype=torch.int64), torch.full((40, 1), 1.0 - 2.0**-53, dtype=torch.float64)
    taken = policy.probs(s).gather(-1, policy.sample(s, u).unsqueeze(-1)).flatten()
    assert taken.min() > 0.0


@pytest.mark.parametrize("name", ENVS)
def test_sending_weights_equal_the_loop(name: str) -> None:
    env = ENVS[name]()
    model, weights = written_out(env), sending_weights(env)
    reach = Counter(y for points in model.access for y in points)
    expected = torch.zeros_like(env.action_mask, dtype=torch.float64)
    for i in range(env.n):
        total = sum(model.success[y] / reach[y] for y in model.access[i])
        for s, a in itertools.product(range(1, 2 ** model.deadline[i]), range(1, oracles.num_actions(model, i))):
            point, packet = oracles.attempt(model, i, s, a)
            earliest = s & -s
            if packet == earliest and point is not None:
                expected[i, s, a] = model.success[point] / reach[point] / total
    torch.testing.assert_close(weights, expected, rtol=0, atol=1e-15)


def test_sending_weights_skip_dead_points() -> None:
    weights = sending_weights(WirelessAccess(incidence=[[0, 1], [0], [1]], deadline=1, success=[0.0, 0.5]))
    assert weights[:, 1].tolist() == [[0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    assert weights[:, 0].abs().sum() == 0.0


@pytest.mark.parametrize("action_set", SETS)
def test_dedicated_by_hand(action_set: str) -> None:
    """User 1 earns most at point 1, point 0 goes to user 0, and user 2 has none."""
    env = WirelessAccess(
        incidence=[[0], [0, 1], [1]], deadline=[2, 2, 1], arrival=[0.5, 0.9, 0.1], success=0.8, action_set=action_set
    )
    assert dedicated_matching(env)[1] == {0: 0, 1: 1}
    table = DedicatedMatching(env, replicas=2).probability_table()
    chosen = table.argmax(dim=3)
    # earliest: the point's place in Y_i; any_slot: 1 + (m - 1) |Y_i| + (j - 1), m the slot of the earliest packet
    user_0 = [0, 1, 1, 1] if action_set == "earliest" else [0, 1, 2, 1]
    user_1 = [0, 2, 2, 2] if action_set == "earliest" else [0, 2, 4, 2]
    assert chosen.tolist() == [[user_0, user_1, [0, 0, 0, 0]]] * 2
    real = torch.arange(4) < env.num_states[:, None]
    assert torch.equal(table.amax(dim=3), real.expand(2, -1, -1).double())
    assert torch.equal((table > 0).sum(dim=3), real.expand(2, -1, -1).long())
    assert env.action_mask.gather(2, dedicated_actions(env)[..., None]).squeeze(2)[real].all()


@pytest.mark.parametrize("action_set", SETS)
def test_dedicated_earns_its_exact_value(action_set: str) -> None:
    """Within three times the 95 % half width of 20 batch means, which is about a hundredth of the value.

    That one of the 10 means is farther off by chance has probability 10 P(|T_19| > 6.28) < 1e-4; the seeds are fixed.
    """
    env = WirelessAccess(rows=3, cols=4, action_set=action_set, deadline=[1, 2, 3] * 4)
    exact, _ = dedicated_matching(env)
    found = evaluate(env, DedicatedMatching(env, replicas=5), steps=40_000)
    assert ((found.average_reward - exact).abs() < 3.0 * found.half_width).all()
    assert found.half_width.max() < 0.002
    assert exact > 0.2


def test_dedicated_is_deterministic_silent_without_a_point_and_compiled() -> None:
    env = WirelessAccess(access_points="interior")
    policy = DedicatedMatching(env, replicas=2)
    s, _, u = random_inputs(env, 2, 0)
    a = policy.sample(s, u[..., 0])
    assert torch.equal(a, dedicated_actions(env)[torch.arange(env.n), s])
    assert (policy.entropy(s) == 0.0).all()
    owners = torch.zeros(env.n, dtype=torch.bool)
    owners[list(dedicated_matching(env)[1])] = True
    assert torch.equal(dedicated_actions(env)[:, 1:].bool().all(dim=1), owners)
    assert not dedicated_actions(env)[~owners].any()
    assert Collector(env, policy).compiled_step() is not None


def test_dedicated_needs_access_points() -> None:
    with pytest.raises(ConfigError, match=r"DedicatedMatching is a rule for WirelessAccess, not for Rumor"):
        DedicatedMatching(Rumor())
