"""Policies: legal, normalized, sampled by inverse CDF, uniform at the start, and equal to hand computations."""

import itertools
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


@pytest.mark.parametrize("action_set", ["earliest", "any_slot"])
@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_those_of_legal_actions(kind: str, action_set: str) -> None:
    env = mixed(action_set)
    policy, model = somewhere(kind, env), written_out(env)
    for seed in range(10):
        s = random_states(env, B, seed)
        probs, log_probs = policy.probs(s), policy.log_probs(s)
        assert (probs.shape, probs.dtype) == ((B, env.n, env.action_mask.shape[2]), torch.float64)
        torch.testing.assert_close(probs.sum(dim=-1), torch.ones(B, env.n, dtype=torch.float64), rtol=0, atol=1e-14)
        for b, i in itertools.product(range(B), range(env.n)):
            for a in set(range(probs.shape[2])) - set(oracles.legal(model, i, int(s[b, i]))):
                assert probs[b, i, a] == 0.0
                assert log_probs[b, i, a] == -math.inf
        for a in range(probs.shape[2]):
            assert torch.equal(policy.log_prob(s, torch.full((B, env.n), a)), log_probs[..., a])
        torch.testing.assert_close(log_probs.exp(), probs, rtol=0, atol=0)


@pytest.mark.parametrize("action_set", ["earliest", "any_slot"])
@pytest.mark.parametrize("kind", KINDS)
def test_sample_inverts_the_distribution_function(kind: str, action_set: str) -> None:
    env = mixed(action_set)
    policy = somewhere(kind, env)
    for seed in range(40):
        s, a, u = random_inputs(env, B, seed)
        rows = policy.probs(s).tolist()
        if seed % 2:  # exactly at a jump, where rounding leaves the sum at 1 and so the jump where it is
            cdf = policy.probs(s).detach().cumsum(dim=-1)
            jump = cdf.gather(-1, a.unsqueeze(-1))
            u = torch.where((jump < 0.999) & (cdf[..., -1:] == 1.0), jump, u[..., :1])
        expected = [
            [oracles.inverse_cdf(row, x) for row, x in zip(rows[b], u[b, :, 0].tolist(), strict=True)] for b in range(B)
        ]
        assert policy.sample(s, u[..., 0]).tolist() == expected


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


def test_replicas_of_the_neural_policy_equal_solo_policies() -> None:
    env = mixed("any_slot")
    batched = NeuralPolicy(env, hidden=5, replicas=3, seed=20)
    solos = [NeuralPolicy(env, hidden=5, seed=20 + b) for b in range(3)]
    for b, solo in enumerate(solos):
        for together, alone in zip(batched.parameters(), solo.parameters(), strict=True):
            assert torch.equal(together[b], alone[0])
    assert not torch.equal(batched.embedding[0], batched.embedding[1])
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in batched.named_parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
            for b, solo in enumerate(solos):
                solo.get_parameter(name).copy_(parameter[b : b + 1])
    s = random_states(env, 3, 4)
    for b, solo in enumerate(solos):
        torch.testing.assert_close(batched.log_probs(s)[b : b + 1], solo.log_probs(s[b : b + 1]), rtol=1e-13, atol=0)
