"""Localized policy iteration from rollouts: an improvement in loops, what it refuses, and the answers that are known."""

import math
from typing import Any

import pytest
import torch

from marl.core.errors import ConfigError, DivergedError
from marl.critics import NeuralStateValue, TabularCritic
from marl.envs import Epidemic, WirelessAccess
from marl.exact import AverageValues, Chain, localized_policy_iteration, optimum
from marl.exact.discounted import discounted_solution
from marl.policies import NeighborhoodSoftmax, NeighborhoodTable
from marl.schedulers import Constant, Linear
from marl.trainers import LocalizedPolicyIteration
from marl.trainers.rollout import Collector
from tests.exact.test_optimum import mixed_tables

K = 40
STEPS = 100_000


def make(env: Any, replicas: int = 2, kappa: int = 1, **changes: Any) -> LocalizedPolicyIteration:
    sizes = {"critic_scheduler": Constant(0.01), "actor_scheduler": Constant(0.7)}
    critic = NeuralStateValue(env, kappa=1, hidden=4, replicas=replicas)
    settings = {"rollout": K, "prior": 2.0, **sizes, **changes}
    return LocalizedPolicyIteration(env, NeighborhoodTable(env, kappa=kappa, replicas=replicas), critic, **settings)


@pytest.mark.parametrize("kappa", [0, 1])
@pytest.mark.parametrize("changes", [{}, {"schedule": "in_turn"}, {"improvement": "soft", "temperature": 0.3}])
def test_an_improvement_in_loops(small: WirelessAccess, kappa: int, changes: dict[str, Any]) -> None:
    """The second one, from a policy that is not uniform, agent by agent, row by row and action by action."""
    trainer, soft = make(small, kappa=kappa, **changes), "improvement" in changes
    trainer.run(K)
    policy, number = trainer.policy, 1
    rollout = Collector(small, policy)(trainer.noise, trainer.s, trainer.a, trainer.t, K)
    trainer.t += K
    with torch.no_grad():
        worth = trainer._estimate(trainer._trajectories(rollout)).credited
        before = policy.log_probs(rollout.s[:-1])
        seen, mask = small.network.neighborhood(kappa)[:2]
        trainer._improve(rollout.s[:-1], rollout.a[:-1], worth, 0.7)
        after = policy.log_probs(rollout.s[:-1])
    moved = 0
    for b in range(2):
        for i in range(small.n):
            rows: dict[tuple[int, ...], list[int]] = {}
            for t in range(K):
                rows.setdefault(tuple(rollout.s[t, b, seen[i, mask[i]]].tolist()), []).append(t)
            for times in rows.values():
                level = sum(worth[t, b, i].item() for t in times) / len(times)
                weight = {}
                for action in range(small.action_mask.shape[2]):
                    old = before[times[0], b, i, action].item()
                    of = [worth[t, b, i].item() for t in times if rollout.a[t, b, i] == action]
                    share = len(of) / (len(of) + 2.0)
                    mean = sum(of) / len(of) - level if of else 0.0
                    if old > -math.inf:
                        keep = 1.0 - 0.7 * share if soft else 1.0
                        weight[action] = math.exp(keep * old + 0.7 * share * mean / (0.3 if soft else 1.0))
                for action, w in weight.items():
                    still = changes.get("schedule") == "in_turn" and i != number % small.n
                    expected = before[times[0], b, i, action].item() if still else math.log(w / sum(weight.values()))
                    assert after[times[0], b, i, action].item() == pytest.approx(expected, abs=1e-10)
                    moved += abs(expected - before[times[0], b, i, action].item()) > 1e-3
    assert moved > (2 if changes.get("schedule") == "in_turn" else 5)


def test_soft_ones_earn_entropies(small: WirelessAccess) -> None:
    """What counts as the reward of a step: r + gamma temperature times the entropy at the next state."""
    trainer = make(small, improvement="soft", temperature=0.5, discount=0.9, reward_rate=1.0)
    given = []
    original = trainer._estimate
    trainer._estimate = lambda rollout: given.append(rollout.r[:, 0].clone()) or original(rollout)
    trainer.run(K)
    rollout, (rewards,) = trainer.buffer.rollout, given
    entropy = make(small).policy.entropy(rollout.s[1:])
    torch.testing.assert_close(rewards, rollout.r + 0.45 * entropy, rtol=0, atol=1e-12)
    assert entropy.max() > 0.5


def test_what_is_added_to_all_rewards_does_not_matter() -> None:
    plain = make(mixed_tables(1.0, 1))
    env = mixed_tables(1.0, 1)
    reward = env._reward
    env._reward = lambda s, a: reward(s, a) + 100.0
    shifted = make(env)
    for trainer in (plain, shifted):
        trainer.run(5 * K)
    s = plain.buffer.rollout.s
    torch.testing.assert_close(plain.policy.probs(s), shifted.policy.probs(s), rtol=0, atol=1e-8)
    assert (plain.policy.probs(s) - 0.5).abs().max() > 0.05


def test_divergence_is_told_of_its_replica(small: WirelessAccess) -> None:
    trainer = make(small)
    trainer.run(K)
    trainer.policy.theta.data[1] = torch.nan
    with pytest.raises(DivergedError, match=r"replica 1;"):
        trainer.run(2 * K)


def test_what_it_refuses(small: WirelessAccess) -> None:
    sizes = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(0.1)}
    with pytest.raises(ConfigError, match="moves the rows of a table, which NeighborhoodSoftmax is not; use policy=neigh"):
        LocalizedPolicyIteration(small, NeighborhoodSoftmax(small), NeuralStateValue(small), **sizes)
    with pytest.raises(ConfigError, match="LocalizedPolicyIteration needs a critic of states"):
        LocalizedPolicyIteration(small, NeighborhoodTable(small), TabularCritic(small), **sizes)
    for changes, told in (
        ({"improvement": "hard"}, "trainer.improvement must be"),
        ({"schedule": "some"}, "trainer.schedule must be"),
        ({"temperature": 0.0}, "trainer.temperature must be"),
        ({"prior": -1.0}, "trainer.prior must be"),
    ):
        with pytest.raises(ConfigError, match=told):
            make(small, **changes)


@pytest.mark.slow
def test_the_epidemic_on_a_ring_of_six() -> None:
    """KL steps for 100,000 steps, one hop: the exact average reward is at least -.047 in each of three seeds.

    The optimum is -.04454, exact KL steps end at -.0450, the uniform policy at -.3392.
    """
    env = Epidemic()
    sizes = {"critic_scheduler": Linear(0.01, 0.0, STEPS), "actor_scheduler": Linear(1.0, 0.0, STEPS)}
    parts = NeighborhoodTable(env, replicas=3), NeuralStateValue(env, kappa=1, replicas=3)
    trainer = LocalizedPolicyIteration(env, *parts, **sizes)
    trainer.run(STEPS)
    exact = [AverageValues(Chain(env, trainer.policy, replica=b)).J.mean().item() for b in range(3)]
    assert min(exact) >= -0.047
    best = localized_policy_iteration(env, 1, improvement="kl", improvements=200).values[-1]
    assert max(exact) <= best + 1e-3


@pytest.mark.slow
@pytest.mark.parametrize(("strength", "seed"), [(1.0, 1), (0.3, 0)])
def test_random_tables_come_near_the_joint_soft_optimum(strength: float, seed: int) -> None:
    """Soft steps, gamma .9, temperature .1, 100,000 steps, one hop: within .02 of it, where uniform is .6 or more below.

    The gap of the exact form is 1.3e-3 and 2e-5; here it is about .003. The value is the mean over all joint states.
    """
    env = mixed_tables(strength, seed)
    sizes = {"critic_scheduler": Linear(0.01, 0.0, STEPS), "actor_scheduler": Linear(0.5, 0.02, STEPS)}
    settings = {"improvement": "soft", "temperature": 0.1, "discount": 0.9}
    parts = NeighborhoodTable(env, replicas=2), NeuralStateValue(env, kappa=1, replicas=2)
    trainer = LocalizedPolicyIteration(env, *parts, **sizes, **settings)
    trainer.run(STEPS)
    best = optimum(env, gamma=0.9, temperature=0.1).high
    for b in range(2):
        chain = Chain(env, trainer.policy, replica=b)
        states = torch.cartesian_prod(*[torch.arange(2)] * env.n)
        entropy = trainer.policy.entropy(states[:, None].expand(-1, 2, -1))[:, b].mean(dim=1).detach().numpy()
        solution = discounted_solution(chain, 0.9, (chain.rewards().mean(axis=1) + 0.1 * entropy)[:, None])
        assert 0.0 <= best - (solution.V + solution.J / 0.1).mean().item() <= 0.02
