"""Policies: legal actions at the ends and for NaN, uniform at the start, and equal to hand computations."""

import math

import pytest
import torch
from torch import Tensor

from marl.core.errors import ConfigError
from marl.core.policy import Policy
from marl.envs import WirelessAccess
from marl.envs.wireless import Aloha
from marl.policies import NeuralPolicy, RandomTable, StateIndependentSoftmax, TabularSoftmax, Uniform
from marl.testing import random_inputs
from tests import oracles
from tests.conftest import written_out
from tests.contracts.test_environment_contract import Rumor

B = 4
KINDS = {
    "softmax": TabularSoftmax,
    "state independent": StateIndependentSoftmax,
    "neural": NeuralPolicy,
    "aloha": Aloha,
    "uniform": Uniform,
    "random table": RandomTable,
}


def mixed(action_set: str) -> WirelessAccess:
    """Users with 1, 2 and 3 points and deadlines 2, 1, 2; point 3 has one user."""
    return WirelessAccess(incidence=[[0], [0, 1], [1, 2, 3], [2]], deadline=[2, 1, 2, 2], action_set=action_set)


def somewhere(kind: str, env: WirelessAccess, replicas: int = B) -> Policy:
    """A policy of that kind with random parameters."""
    policy = KINDS[kind](env, replicas=replicas)
    draw = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.copy_(3.0 * torch.randn(parameter.shape, generator=draw, dtype=parameter.dtype))
    return policy


def random_states(env: WirelessAccess, count: int, seed: int) -> Tensor:
    return random_inputs(env, count, seed)[0]


def test_an_impossible_first_action_is_never_taken() -> None:
    """Agent 2 of the rumor network may not take action 0 in state 1."""
    env = Rumor()
    s = torch.ones(B, 3, dtype=torch.int64)
    for kind in ("softmax", "state independent", "neural", "uniform", "random table"):
        policy = KINDS[kind](env, replicas=B)
        for bad in (0.0, math.nan):
            for parameter in policy.parameters():
                parameter.data.add_(bad)
            for u in (0.0, 0.5, 1.0 - 2.0**-53):
                a = policy.sample(s, torch.full((B, 3), u, dtype=torch.float64))
                assert env.action_mask[torch.arange(3), s].gather(-1, a.unsqueeze(-1)).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("kind", KINDS)
def test_the_ends_of_the_unit_interval_give_possible_actions(kind: str, dtype: torch.dtype) -> None:
    for action_set in ("earliest", "any_slot"):
        env = mixed(action_set)
        policy = somewhere(kind, env).to(dtype)
        for seed in range(10):
            s = random_states(env, B, seed)
            for end in (0.0, 1.0 - 2.0**-53):
                a = policy.sample(s, torch.full((B, env.n), end, dtype=torch.float64))
                assert env.action_mask[torch.arange(env.n), s].gather(-1, a.unsqueeze(-1)).all()
        first = policy.sample(s, torch.zeros(B, env.n, dtype=torch.float64))
        assert (policy.log_prob(s, first) > -math.inf).all()


def test_nan_gives_a_legal_action() -> None:
    for action_set in ("earliest", "any_slot"):
        env = mixed(action_set)
        policy = TabularSoftmax(env, replicas=B)
        for bad in (policy.theta.data, policy.theta.data[..., :1], policy.theta.data[..., -1:]):
            policy.theta.data.zero_()
            bad.fill_(math.nan)
            s, _, u = random_inputs(env, B, 5)
            a = policy.sample(s, u[..., 0])
            assert env.action_mask[torch.arange(env.n), s].gather(-1, a.unsqueeze(-1)).all()


@pytest.mark.parametrize("kind", ["softmax", "state independent", "neural", "uniform"])
@pytest.mark.parametrize("action_set", ["earliest", "any_slot"])
def test_learning_starts_from_the_uniform_policy(kind: str, action_set: str) -> None:
    env = mixed(action_set)
    policy, model, s = KINDS[kind](env, replicas=B, seed=3), written_out(env), random_states(env, B, 0)
    probs, entropy = policy.probs(s), policy.entropy(s)
    for b in range(B):
        for i in range(env.n):
            legal = oracles.legal(model, i, int(s[b, i]))
            expected = [1 / len(legal) if a in legal else 0.0 for a in range(probs.shape[2])]
            assert probs[b, i].tolist() == pytest.approx(expected, abs=1e-15)
            assert entropy[b, i].item() == pytest.approx(math.log(len(legal)), abs=1e-14)


def test_score_of_the_softmax_is_indicator_minus_probability() -> None:
    env = mixed("earliest")
    policy, model = somewhere("softmax", env), written_out(env)
    s, a, _ = random_inputs(env, B, 2)
    theta = policy.get_parameter("theta")
    policy.log_prob(s, a).sum().backward()
    assert theta.grad is not None
    expected = torch.zeros_like(theta)
    for b in range(B):
        for i in range(env.n):
            state = int(s[b, i])
            probs = oracles.softmax_probs(theta[b, i, state].tolist(), oracles.legal(model, i, state))
            for action, p in enumerate(probs):
                expected[b, i, state, action] = (1.0 if action == a[b, i] else 0.0) - p
    torch.testing.assert_close(theta.grad, expected.detach(), rtol=0, atol=1e-14)
    assert theta.grad.abs().max() > 0.1


def test_entropy_by_hand() -> None:
    env = WirelessAccess(incidence=[[0, 1]], deadline=1)
    policy = TabularSoftmax(env)
    policy.theta.data[0, 0, 1] = torch.tensor([0.0, math.log(2.0), -math.inf], dtype=torch.float64)
    busy, idle = policy.entropy(torch.tensor([[1]])), policy.entropy(torch.tensor([[0]]))
    assert busy.item() == pytest.approx(math.log(3) - 2 / 3 * math.log(2), rel=1e-14)  # probabilities 1/3, 2/3, 0
    assert idle.item() == 0.0


def test_neural_policy_needs_a_hidden_unit() -> None:
    with pytest.raises(ConfigError, match=r"policy.hidden must be a whole number of at least 1, got 0"):
        NeuralPolicy(mixed("earliest"), hidden=0)
