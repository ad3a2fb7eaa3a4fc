"""Reward centering by TD errors, mu <- mu + c alpha delta: written out, where it settles, shifts, and what it refuses."""

from collections import defaultdict
from typing import Any

import pytest
import torch
from torch import Tensor

from marl.core.errors import ConfigError
from marl.core.objective import AverageByErrors
from marl.critics import NeuralStateValue, TabularCritic
from marl.envs import LocalMDP, random_local_mdp
from marl.exact import AverageValues, Chain
from marl.policies import TabularSoftmax
from marl.schedulers import Constant, PowerLaw
from marl.testing import random_inputs
from marl.trainers import KappaHopPPO, RolloutActorCritic, ScalableActorCritic
from marl.trainers.rollout import Collector

C = 0.4


def three(added: float = 0.0) -> LocalMDP:
    """Three agents in a line, of 2, 4 and 2 pairs; `added` is added to all rewards."""
    env = random_local_mdp("line:3", 2, [1, 2, 1], reward_low=-1.0, instance_seed=21)
    laws, rewards = env.as_tables()
    return LocalMDP(env.network, laws, [table + added for table in rewards])


def made(kind: type[Any], env: LocalMDP, replicas: int = 2, **changes: Any) -> Any:
    """A table over everybody, under a policy that stays as it is."""
    sizes = {"critic_scheduler": PowerLaw(0.5, 0.6), "actor_scheduler": Constant(0.0)}
    policy, critic = TabularSoftmax(env, replicas=replicas), TabularCritic(env, kappa=2, replicas=replicas)
    with torch.no_grad():
        policy.theta[:, 1] = torch.tensor([[0.5, -0.2], [-0.4, 0.3]])
    return kind(env, policy, critic, **{"centering": C, **sizes, **changes})


@pytest.mark.parametrize(
    ("kind", "length", "changes"),
    [
        (ScalableActorCritic, 1, {"engine": "autograd"}),
        (ScalableActorCritic, 1, {"engine": "fused"}),
        (RolloutActorCritic, 4, {}),
        (RolloutActorCritic, 3, {"reward_rate": 0.7}),
    ],
)
def test_updates_written_out(kind: type[Any], length: int, changes: dict[str, Any]) -> None:
    """Twelve steps in updates of `length` by plain loops: mu and Q move along the same errors, of before either moves."""
    env, steps = three(), 12
    trainer = made(kind, env, **({"rollout": length} if length > 1 else {}), **changes)
    s, a, r = Collector(env, trainer.policy)(trainer.noise, trainer.s, trainer.a, 0, steps)
    trainer.run(steps)
    for b in range(2):
        mu, q = [0.0] * env.n, defaultdict[tuple[Any, ...], float](float)
        pairs = [(tuple(s[t, b].tolist()), tuple(a[t, b].tolist())) for t in range(steps + 1)]
        for began in range(0, steps, length):
            alpha, old_mu, old_q = 0.5 * (began + 1) ** -0.6, list(mu), q.copy()
            for t in range(began, began + length):
                for i in range(env.n):
                    delta = r[t, b, i].item() - old_mu[i] + old_q[i, pairs[t + 1]] - old_q[i, pairs[t]]
                    q[i, pairs[t]] += alpha / length * delta
                    mu[i] += C * changes.get("reward_rate", alpha) / length * delta
        assert trainer.critic.mu[b].tolist() == pytest.approx(mu, rel=0, abs=1e-13)
        found = trainer.critic.q(s, a)[:, b].tolist()
        assert found == [pytest.approx([q[i, pair] for i in range(env.n)], rel=0, abs=1e-13) for pair in pairs]


def test_a_rollout_is_centered_by_its_errors_before_advantages_are_taken() -> None:
    """Of kappa-hop PPO: the step of mu is c times that of the rewards' mean, along the mean error of before it."""
    env, length, replicas = three(), 8, 2
    sizes = {"critic_scheduler": Constant(0.01), "actor_scheduler": Constant(0.01)}
    parts = env, TabularSoftmax(env, replicas=replicas), NeuralStateValue(env, kappa=1, hidden=3, replicas=replicas)
    trainer = KappaHopPPO(*parts, rollout=length, reward_rate=0.3, centering=C, **sizes)
    trainer.run(3 * length)
    rollout = Collector(env, trainer.policy)(trainer.noise, trainer.s, trainer.a, trainer.t, length)
    mu, values = trainer.critic.mu.clone(), trainer.critic.q(rollout.s, rollout.a).detach()
    trainer.t += length
    estimate = trainer._estimate(trainer._trajectories(rollout))
    error = rollout.r - mu + values[1:] - values[:-1]
    moved = C * 0.3 / (1.0 - 0.7**4) * error.mean(dim=0)
    torch.testing.assert_close(trainer.critic.mu, mu + moved, rtol=0, atol=1e-13)
    torch.testing.assert_close(estimate.td_error, error - moved, rtol=0, atol=1e-13)


def values_of(trainer: Any) -> Tensor:
    """Q_i of every joint pair: [16, B, n]."""
    joint = torch.cartesian_prod(*[torch.arange(2)] * 4)
    s, a = joint[:, :3], torch.zeros_like(joint[:, :3])
    a[:, 1] = joint[:, 3]
    shape = -1, trainer.replicas, -1
    return trainer.critic.q(s[:, None].expand(*shape), a[:, None].expand(*shape)).detach()


def test_it_settles_at_the_average_rewards_wherever_these_are() -> None:
    """Compiled, 32 replicas at 40,000 steps: mu_i is J_i, and 100 more where all rewards are, with Q as it was.

    Both runs are on the same noise. J_i: each of three means of 32 within 6 standard errors, which are below 0.003; this
    fails with probability below 1e-5. At any time mu_i = c sum_z Q_i(z), so Q_i is higher by 100 / (16 c) at all pairs, to
    1e-3 at those that are seldom met.
    """
    runs = [made(ScalableActorCritic, three(x), 32, critic_scheduler=PowerLaw(16.0, 0.7, 100.0)) for x in (0.0, 100.0)]
    for run in runs:
        assert run.engine == "fused"
        run.run(40_000)
        off = run.critic.mu - AverageValues(Chain(run.env, run.policy)).J
        error = off.std(dim=0) / 32**0.5
        torch.testing.assert_close(run.critic.mu, C * values_of(run).sum(dim=0), rtol=0, atol=1e-9)
        assert (off.mean(dim=0).abs() < 6.0 * error).all()
        assert (error < 0.003).all()
    plain, shifted = runs
    torch.testing.assert_close(shifted.critic.mu, plain.critic.mu + 100.0, rtol=0, atol=1e-6)
    torch.testing.assert_close(values_of(shifted), values_of(plain) + 100.0 / (16.0 * C), rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"centering": 0.0}, r"trainer.centering must be a finite number in \[1e-12, 1\], got 0"),
        ({"centering": 1.5}, "trainer.centering must be a finite number"),
        ({"discount": 0.9}, "trainer.centering=0.4 is about mu, which trainer.discount=0.9 has none of"),
    ],
)
def test_what_it_refuses(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        made(ScalableActorCritic, three(), **changes)


def test_a_trainer_that_tells_rewards_alone_hears_of_it() -> None:
    critic = made(ScalableActorCritic, three()).critic
    with pytest.raises(ConfigError, match=r"set trainer\.centering=null, or let the trainer call `critic.track`"):
        critic.track_reward(random_inputs(critic.env, 2, 0)[2][..., 0], 0.1)


def test_a_critic_that_goes_on_keeps_its_mu_where_it_means_the_same() -> None:
    env = three()
    run = made(ScalableActorCritic, env)
    run.run(20)
    policy, sizes = run.policy, {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(0.1)}
    again = ScalableActorCritic(env, policy, run.critic, centering=C, **sizes)
    assert isinstance(again.critic.objective, AverageByErrors)
    assert (again.critic.mu != 0.0).all()
    assert (ScalableActorCritic(env, policy, run.critic, centering=C / 2, **sizes).critic.mu == 0.0).all()
    assert not isinstance(ScalableActorCritic(env, policy, run.critic, **sizes).critic.objective, AverageByErrors)
