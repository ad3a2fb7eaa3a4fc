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
def test_shared_starts_uniform(action_set: str) -> None:
    env = mixed(action_set)
    batched, model = SharedPolicy(env, replicas=B, seed=4), written_out(env)
    s, _, _ = random_inputs(env, B, 0)
    entropy = batched.entropy(s)
    for b, i in itertools.product(range(B), range(env.n)):
        assert entropy[b, i].item() == pytest.approx(math.log(len(oracles.legal(model, i, int(s[b, i])))), abs=1e-14)
    with pytest.raises(ConfigError, match=r"policy.hidden must be a whole number of at least 1, got 0"):
        SharedPolicy(env, hidden=0)
