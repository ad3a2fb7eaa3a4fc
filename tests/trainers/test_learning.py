"""The main job learns: Algorithm 1 against the best ALOHA on the paper's network."""

import numpy as np
import pytest
import torch

from marl import build
from marl.cli.train import compose
from marl.critics import TabularCritic
from marl.envs import WirelessAccess
from marl.envs.wireless import Aloha, dedicated_matching
from marl.exact import AverageValues, Chain
from marl.loggers import ArrayLogger
from marl.policies import TabularSoftmax
from marl.schedulers import Constant
from marl.trainers import ScalableActorCritic
from marl.trainers.evaluation import evaluate

STEPS, SEEDS = 20_000, 3


@pytest.mark.parametrize("placement", ["interior", "corners"])
def test_beats_the_best_aloha_by_half(placement: str) -> None:
    """Mean reward of the last 10 % of 20,000 steps over 3 seeds is at least 1.5 times the best ALOHA on a grid of 20.

    ALOHA's best is taken over noisy estimates and so flattered. Measured ratios are near 1.8 and 1.55, with a spread
    over seeds below 0.02, so a false alarm would take a deviation of several spreads; the seeds are fixed anyway.
    """
    env = WirelessAccess(access_points=placement)
    grid = np.linspace(0.05, 1.0, 20).tolist()
    aloha = evaluate(env, Aloha(env, send_probability=grid, replicas=20), steps=4000).average_reward.max().item()
    trainer = ScalableActorCritic(
        env,
        TabularSoftmax(env, replicas=SEEDS),
        TabularCritic(env, replicas=SEEDS),
        critic_scheduler=Constant(0.1),
        actor_scheduler=Constant(3.0),
        log_every=STEPS // 10,
    )
    trainer.run(STEPS - STEPS // 10)
    late = Late()
    trainer.loggers = [late]
    trainer.run(STEPS // 10)
    assert len(late.rewards) == 1
    assert torch.isfinite(trainer.policy.theta).all()
    assert late.rewards[0] >= 1.5 * aloha


@pytest.mark.slow
def test_agents_that_see_their_neighbors_beat_the_best_matching_soon() -> None:
    """`experiment=pairwise`, 20,000 steps, 3 seeds, a draw that nothing was tuned on: near the dedicated matching already.

    Measured on draws 10 to 14: 1.008 of the matching or more over ten seeds, which vary by a standard deviation of at most
    0.012; asked for are 0.95, and 1.8 times the best ALOHA. The seeds are fixed.
    """
    overrides = ["experiment=pairwise", f"steps={STEPS}", f"replicas={SEEDS}", "env.instance_seed=12", "logger=none"]
    config = compose(overrides)
    env = build.environment(config)
    grid = np.linspace(0.05, 1.0, 20).tolist()
    aloha = evaluate(env, Aloha(env, send_probability=grid, replicas=20), steps=4000).average_reward.max().item()
    trainer = build.trainer(config, env, build.replicas(config), STEPS // 10)
    late = Late()
    trainer.loggers = [late]
    trainer.run(STEPS)
    assert late.rewards[-1] >= 0.95 * dedicated_matching(env)[0]
    assert late.rewards[-1] >= 1.8 * aloha


@pytest.mark.slow
@pytest.mark.parametrize(("method", "least"), [("additive", -0.23), ("neural", -0.23), ("pairwise", -0.12)])
def test_no_seed_collapses_on_the_epidemic(method: str, least: float) -> None:
    """`method=... env=epidemic steps=30000`, 3 seeds, exactly: all far above uniform (-.339), which nothing was tuned on.

    Measured: -.188 or more (`additive`), -.194 (`neural`), -.081 (`pairwise`); constant steps of SGD ended below -.4.
    """
    config = compose([f"method={method}", "env=epidemic", "steps=30000", f"replicas={SEEDS}", "logger=none"])
    env = build.environment(config)
    trainer = build.trainer(config, env, build.replicas(config), config["steps"])
    trainer.run(config["steps"])
    assert min(float(AverageValues(Chain(env, trainer.policy, replica=b)).J.mean()) for b in range(SEEDS)) > least


@pytest.mark.slow
def test_the_discounted_return_improves_steadily() -> None:
    """`experiment=discounted`, 24 users, 100,000 episodes: each twentieth is no worse than the one before but for noise.

    A mean over 5,000 episodes and 24 users has a standard error near 0.0008; 0.004 are allowed, and it grows by 0.2.
    """
    config = compose(["experiment=discounted", "logger=none"])
    env = build.environment(config)
    trainer = build.trainer(config, env, build.replicas(config), config["steps"] // 20)
    logged = ArrayLogger()
    trainer.loggers = [logged]
    trainer.run(config["steps"])
    returns = logged.arrays()["train/discounted_return"][:, 0]
    assert len(returns) == 20
    assert (np.diff(returns) > -0.004).all()
    assert returns[-1] > returns[0] + 0.15
    assert returns[-1] > returns[9]  # still


class Late:
    """Keeps the mean reward of the interval it hears of."""

    def __init__(self) -> None:
        self.rewards: list[float] = []

    def log(self, step: int, metrics: dict[str, np.ndarray]) -> None:
        self.rewards.append(float(metrics["train/average_reward"].mean()))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass
