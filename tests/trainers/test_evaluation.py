"""Evaluation against a rollout in loops, and the honesty of its interval."""

import pytest
import torch

from marl.core.errors import ConfigError
from marl.core.noise import Noise, Purpose
from marl.envs import WirelessAccess
from marl.envs.wireless import Aloha
from marl.policies import TabularSoftmax, Uniform
from marl.trainers.evaluation import evaluate
from tests.conftest import written_out
from tests.oracles import average_policy_rollout


def test_equals_a_rollout_in_loops(small: WirelessAccess) -> None:
    torch.manual_seed(0)
    policy = TabularSoftmax(small)
    policy.theta.data = torch.randn_like(policy.theta)
    noise = Noise(7, 1, small.n, 3, Purpose.EVALUATION)
    uniforms = [noise(t)[0].tolist() for t in range(201)]

    def probs(i: int, s: int) -> list[float]:
        return policy.probs(torch.full((1, small.n), s) % small.num_states)[0, i].tolist()

    expected = average_policy_rollout(written_out(small), probs, uniforms)
    found = evaluate(small, policy, steps=200, burn_in=0, seed=7)
    assert found.average_reward.tolist() == pytest.approx([expected], abs=1e-12)
    assert found.agent_reward.mean(dim=1).tolist() == pytest.approx([expected], abs=1e-12)


def test_burn_in_is_left_out(small: WirelessAccess) -> None:
    whole = evaluate(small, Uniform(small), steps=100, burn_in=0, seed=1).agent_reward * 100
    late = evaluate(small, Uniform(small), steps=60, burn_in=40, seed=1).agent_reward * 60
    early = evaluate(small, Uniform(small), steps=40, burn_in=0, seed=1).agent_reward * 40
    torch.testing.assert_close(whole, early + late)


def test_interval_covers() -> None:
    """One user that always sends: rewards mix within two steps, so batch means are honest.

    200 replicas, each covered with probability 0.95 up to the small error of normality: fewer than 175 covered has
    probability below 1e-4 (binomial), and so has all 200 covered. The truth: with deadline 1 a packet is there with
    probability p and goes through with probability q.
    """
    env = WirelessAccess(incidence=[[0]], deadline=1, arrival=0.6, success=0.5)
    result = evaluate(env, Aloha(env, send_probability=1.0, replicas=200), steps=1000, seed=0)
    covered = ((result.average_reward - 0.3).abs() <= result.half_width).sum().item()
    assert 175 <= covered < 200


def test_replicas_have_their_own_noise(small: WirelessAccess) -> None:
    both = evaluate(small, Uniform(small, replicas=2), steps=50, seed=3)
    assert both.average_reward[1] == evaluate(small, Uniform(small), steps=50, seed=4).average_reward[0]


@pytest.mark.parametrize(("steps", "burn_in"), [(19, 0), (0, 0), (100, -1)])
def test_bad_lengths(small: WirelessAccess, steps: int, burn_in: int) -> None:
    with pytest.raises(ConfigError, match=r"eval\."):
        evaluate(small, Uniform(small), steps=steps, burn_in=burn_in)
