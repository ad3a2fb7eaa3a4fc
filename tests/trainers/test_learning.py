"""The main job learns: Algorithm 1 against the best ALOHA on the paper's network."""

import numpy as np
import pytest
import torch

from marl.core.evaluation import evaluate
from marl.critics import TabularCritic
from marl.envs import WirelessAccess
from marl.policies import Aloha, TabularSoftmax
from marl.schedulers import Constant
from marl.trainers import ScalableActorCritic

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
