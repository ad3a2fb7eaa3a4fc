"""The compiled rollout of an evaluation against the eager one: the same numbers."""

import pytest
import torch

from marl import Aloha, Coloring, Environment, NeuralPolicy, Policy, TabularSoftmax, Uniform, WirelessAccess, evaluate
from marl.envs import random_local_mdp
from marl.trainers import rollout

ENVIRONMENTS = {
    "interior": lambda: WirelessAccess(rows=3, cols=3),
    "any-slot": lambda: WirelessAccess(
        rows=2, cols=2, action_set="any_slot", deadline=[1, 2, 3, 2], access_points="corners"
    ),
    "coloring": lambda: Coloring("ring:5", colors=3),
    "tables": lambda: random_local_mdp("line:4", [2, 3, 1, 2], [2, 1, 3, 2], private_actions=False, private_rewards=False),
}


def soft(env: Environment) -> Policy:
    policy = TabularSoftmax(env, replicas=3)
    with torch.no_grad():
        policy.theta.copy_(torch.randn(policy.theta.shape, generator=torch.Generator().manual_seed(1)) * 2)
    return policy


POLICIES = {
    "uniform": lambda env: Uniform(env, replicas=3),
    "softmax": soft,
    "neural": lambda env: NeuralPolicy(env, replicas=3, seed=4, dtype=torch.float32),
    "aloha": lambda env: Aloha(env, replicas=3, send_probability=[0.0, 0.4, 1.0]),
}


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_compiled_and_eager_rollouts_are_the_same(name: str, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    env = ENVIRONMENTS[name]()
    if policy == "aloha" and not isinstance(env, WirelessAccess):
        policy = "softmax"
    made = POLICIES[policy](env)
    monkeypatch.setattr(rollout, "CHUNK", 37)
    compiled = evaluate(env, made, steps=200, burn_in=33, seed=5)
    monkeypatch.setattr(rollout, "MAX_TABLE", 0)
    eager = evaluate(env, made, steps=200, burn_in=33, seed=5)
    assert torch.equal(compiled.agent_reward, eager.agent_reward)
    assert torch.equal(compiled.average_reward, eager.average_reward)
    assert torch.equal(compiled.half_width, eager.half_width)
    assert compiled.average_reward.std() > 0.0


def test_an_environment_that_changes_its_step_is_not_compiled() -> None:
    class Generous(WirelessAccess):
        def _step(self, s, a, u):
            s, r = super()._step(s, a, u)
            return s, r + 1.0

    plain, generous = WirelessAccess(rows=2, cols=2), Generous(rows=2, cols=2)
    one, more = (evaluate(env, Uniform(env), steps=40).average_reward for env in (plain, generous))
    assert torch.allclose(more, one + 1.0)
