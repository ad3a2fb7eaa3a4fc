"""One policy network for all agents, and the fixed schedule that learned policies are measured against."""

import itertools
import math
from typing import Any

import pytest
import torch

from marl.core.contract import random_inputs
from marl.core.errors import ConfigError
from marl.core.evaluation import evaluate
from marl.core.rollout import Collector
from marl.envs import WirelessAccess
from marl.envs.wireless import DedicatedMatching, dedicated_matching
from marl.envs.wireless.rules import dedicated_actions
from marl.policies import SharedPolicy
from tests import oracles
from tests.conftest import written_out
from tests.contracts.test_environment_contract import Rumor
from tests.policies.test_policies import mixed

B = 3
SETS = ["earliest", "any_slot"]


def shaken(policy: Any) -> Any:
    """The policy with random parameters."""
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype))
    return policy


@pytest.mark.parametrize("action_set", SETS)
def test_shared_logits_are_those_of_the_formula(action_set: str) -> None:
    """V tanh(W tanh(E[s_i] + agent_i + degree |N_i| / m) + c) + d, softmax over the legal actions."""
    env = mixed(action_set)
    policy, model = shaken(SharedPolicy(env, hidden=3, replicas=B)), written_out(env)
    sizes = [1 + sum(i in edge for edge in env.network.edges.tolist()) for i in range(env.n)]
    s, _, _ = random_inputs(env, B, 2)
    probs = policy.probs(s)
    for b, i in itertools.product(range(B), range(env.n)):
        x = policy.embedding[b, s[b, i]] + policy.agent[b, i] + policy.degree[b] * sizes[i] / max(sizes)
        hidden = torch.tanh(x.tanh() @ policy.layer[b] + policy.bias[b])
        logits = (hidden @ policy.weight[b] + policy.shift[b]).tolist()
        legal = oracles.legal(model, i, int(s[b, i]))
        total = math.fsum(math.exp(logits[a]) for a in legal)
        expected = [math.exp(logits[a]) / total if a in legal else 0.0 for a in range(len(logits))]
        assert probs[b, i].tolist() == pytest.approx(expected, abs=1e-14)


@pytest.mark.parametrize("action_set", SETS)
def test_shared_starts_uniform_and_replicas_equal_solo_policies(action_set: str) -> None:
    env = mixed(action_set)
    batched, model = SharedPolicy(env, replicas=B, seed=4), written_out(env)
    s, _, _ = random_inputs(env, B, 0)
    entropy = batched.entropy(s)
    for b, i in itertools.product(range(B), range(env.n)):
        assert entropy[b, i].item() == pytest.approx(math.log(len(oracles.legal(model, i, int(s[b, i])))), abs=1e-14)
    for b in range(B):
        for together, alone in zip(batched.parameters(), SharedPolicy(env, seed=4 + b).parameters(), strict=True):
            assert torch.equal(together[b], alone[0])
    with pytest.raises(ConfigError, match=r"policy.hidden must be a whole number of at least 1, got 0"):
        SharedPolicy(env, hidden=0)


def test_shared_leading_axes_are_a_loop() -> None:
    """Fewer steps than there are states, and more."""
    env = mixed("any_slot")
    policy = shaken(SharedPolicy(env, hidden=4, replicas=B))
    for first, second in ((1, 2), (5, 7)):
        s = random_inputs(env, first * second * B, 3)[0].view(first, second, B, env.n)
        probs = policy.probs(s)
        for k in itertools.product(range(first), range(second)):
            torch.testing.assert_close(probs[k], policy.probs(s[k]), rtol=0, atol=1e-14)


def test_shared_gradients_are_those_of_finite_differences() -> None:
    """Of log-probabilities, on either side of the number of states."""
    env = mixed("earliest")
    policy = shaken(SharedPolicy(env, hidden=2))
    for steps in (1, 6):
        s, a, _ = random_inputs(env, steps, 1)
        learned = tuple(policy.parameters())
        assert torch.autograd.gradcheck(lambda *_, s=s, a=a: policy.log_prob(s[:, None], a[:, None]), learned)


@pytest.mark.parametrize("action_set", SETS)
def test_dedicated_by_hand(action_set: str) -> None:
    """Point 1 is worth most to user 1, point 0 goes to user 0, and user 2 has none."""
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
    assert Collector(env, policy).compiled


def test_dedicated_needs_access_points() -> None:
    with pytest.raises(ConfigError, match=r"policy=dedicated needs access points to send to .*; Rumor has none"):
        DedicatedMatching(Rumor())
