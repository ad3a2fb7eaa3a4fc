"""The random table (fixed) and the state-independent softmax (blind to s_i)."""

import math
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch

from marl.core.errors import ConfigError
from marl.envs import Coloring, random_local_mdp
from marl.policies import RandomTable, StateIndependentSoftmax
from marl.testing import random_inputs
from tests.contracts.test_environment_contract import Rumor
from tests.policies.test_policies import mixed

LEVEL = math.log(2 / 1e-9)
"""A mean of K numbers in [0, 1] misses its expectation by more than sqrt(LEVEL / 2K) with probability 1e-9 (Hoeffding)."""


@pytest.mark.parametrize("distribution", ["normalized", "dirichlet"])
def test_probabilities_of_the_random_table_are_its_rows(distribution: str) -> None:
    env = Rumor()  # 2, 3, 2 states; 2, 1, 3 actions; agent 2 may not take action 0 in state 1
    draw = np.random.default_rng([1, 4])
    weight = draw.random((3, 3, 3)) if distribution == "normalized" else draw.standard_exponential((3, 3, 3))
    policy = RandomTable(env, distribution=distribution, instance_seed=4, replicas=5)
    assert list(policy.parameters()) == []
    assert policy.table.shape == (3, 3, 3)
    for s in ([0, 0, 0], [1, 2, 1], [1, 1, 0]):
        probs = policy.probs(torch.tensor([s] * 5))
        for i in range(3):
            legal = env.action_mask[i, s[i]].tolist()
            kept = [float(w) if ok else 0.0 for w, ok in zip(weight[i, s[i]], legal, strict=True)]
            expected = [w / sum(kept) for w in kept]
            assert policy.table[i, s[i]].tolist() == pytest.approx(expected, abs=1e-15)
            for b in range(5):
                assert probs[b, i].tolist() == pytest.approx(expected, abs=1e-15)
    assert policy.table[2, 1, 0] == 0.0


def test_the_random_table_depends_on_its_own_seed_only() -> None:
    env = mixed("earliest")
    table = RandomTable(env, instance_seed=1, seed=0).table
    assert torch.equal(RandomTable(env, instance_seed=1, seed=9, replicas=3).table, table)
    assert not torch.equal(RandomTable(env, instance_seed=2).table, table)
    assert not torch.equal(RandomTable(env, instance_seed=1, distribution="dirichlet").table, table)
    single = RandomTable(env, instance_seed=1, dtype=torch.float32)
    assert single.table.dtype == single.probs(random_inputs(env, 1, 0)[0]).dtype == torch.float32
    assert torch.equal(single.table, table.float())


def test_the_random_table_is_kept_in_checkpoints() -> None:
    env = mixed("any_slot")
    one, other = RandomTable(env, instance_seed=1), RandomTable(env, instance_seed=2)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.table, other.table)


@pytest.mark.parametrize(("distribution", "square"), [("normalized", 1 - math.log(2)), ("dirichlet", 1 / 3)])
def test_moments_of_a_row(distribution: str, square: float) -> None:
    """For two actions: U/(U+V) has second moment 1 - log 2, a flat Dirichlet 1/3 (as in test_random_local_mdp)."""
    env = Coloring("line:50000", colors=2)  # 4 states and 2 actions each
    rows = 200_000
    first = RandomTable(env, distribution=distribution, instance_seed=3).table[..., 0].ravel()
    margin = math.sqrt(LEVEL / (2 * rows))
    assert (len(first), margin < 0.0265 / 3) == (rows, True)
    assert abs(float(first.mean()) - 0.5) < margin
    assert abs(float(first.square().mean()) - square) < margin


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"distribution": "uniform"}, "policy.distribution must be one of normalized, dirichlet, got 'uniform'"),
        ({"instance_seed": -1}, "policy.instance_seed must be a whole number of at least 0, got -1"),
        ({"instance_seed": 0.5}, "policy.instance_seed must be a whole number of at least 0, got 0.5"),
    ],
)
def test_refusals(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], words: str) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=words):
        RandomTable(mixed("earliest"), **arguments)


def test_the_blind_policy_sees_no_state() -> None:
    env = random_local_mdp("line:4", num_states=[2, 3, 2, 4], num_actions=[3, 2, 1, 3])
    policy = StateIndependentSoftmax(env, replicas=3)
    assert policy.theta.shape == (3, 4, 3)
    policy.theta.data.copy_(torch.randn(3, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64))
    seen = policy.probs(random_inputs(env, 3, 0)[0])
    for seed in range(1, 10):
        assert torch.equal(policy.probs(random_inputs(env, 3, seed)[0]), seen)
    for b in range(3):
        for i, actions in enumerate((3, 2, 1, 3)):
            weight = [math.exp(float(x)) for x in policy.theta.detach()[b, i, :actions]]
            expected = [w / sum(weight) for w in weight] + [0.0] * (3 - actions)
            assert seen[b, i].tolist() == pytest.approx(expected, abs=1e-15)


def test_one_replica_of_the_blind_policy_answers_for_many_states() -> None:
    env = Coloring("ring:4", 3)
    policy = StateIndependentSoftmax(env)
    policy.theta.data[0, 2] = torch.tensor([0.0, 1.0, -math.inf], dtype=torch.float64)
    probs = policy.probs(random_inputs(env, 7, 0)[0])
    assert probs.shape == (7, 4, 3)
    assert probs[:, 2].tolist() == [pytest.approx([1 / (1 + math.e), math.e / (1 + math.e), 0.0])] * 7


def test_illegal_actions_are_left_out_of_the_blind_policy() -> None:
    """Agent 2 may not take action 0 in state 1: the others share its probability in proportion."""
    env = Rumor()
    policy = StateIndependentSoftmax(env)
    policy.theta.data[0, 2] = torch.tensor([5.0, 0.0, 1.0], dtype=torch.float64)
    probs = policy.probs(torch.tensor([[0, 0, 1]]))[0, 2].tolist()
    assert probs == pytest.approx([0.0, 1 / (1 + math.e), math.e / (1 + math.e)])


def test_score_of_the_blind_policy_is_indicator_minus_probability() -> None:
    env = Coloring("ring:4", 3)
    policy = StateIndependentSoftmax(env, replicas=2)
    policy.theta.data.copy_(torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    s, a, _ = random_inputs(env, 2, 0)
    policy.log_prob(s, a).sum().backward()
    expected = torch.nn.functional.one_hot(a, 3) - policy.probs(s).detach()
    torch.testing.assert_close(policy.theta.grad, expected, rtol=0, atol=1e-14)
