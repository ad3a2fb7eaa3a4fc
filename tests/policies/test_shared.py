"""One policy network for all agents."""

import itertools
import math
from typing import Any

import pytest
import torch

from marl.core.errors import ConfigError
from marl.policies import SharedPolicy
from marl.testing import random_inputs
from tests import oracles
from tests.conftest import written_out
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
