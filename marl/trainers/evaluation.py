"""The long-run average reward of a frozen policy is measured here, with a confidence interval."""

from dataclasses import dataclass

import torch
from torch import Tensor

from marl.core.checks import integer
from marl.core.environment import Environment
from marl.core.policy import Policy
from marl.core.together import check_together
from marl.trainers.rollout import from_a_fresh_start

BATCHES = 20
_T_QUANTILE = 2.093  # Student's t, 19 degrees of freedom, 97.5 %


@dataclass(frozen=True)
class Evaluation:
    """This is what `evaluate` measured.

    Shapes: average_reward [B] (over agents and steps), half_width [B] (95 % interval is average +- half_width),
    agent_reward [B, n], segments [B, 20] (the average reward of 20 consecutive parts of equal length).
    """

    average_reward: Tensor
    half_width: Tensor
    agent_reward: Tensor
    segments: Tensor
    steps: int
    burn_in: int


@torch.no_grad()
def evaluate(env: Environment, policy: Policy, *, steps: int, burn_in: int | None = None, seed: int = 0) -> Evaluation:
    """Runs `policy` from a fresh start for `burn_in` unrecorded steps (default steps / 10), then `steps` recorded ones.

    The interval comes from batch means: 20 consecutive batches are taken as independent normal draws, so it is
    honest once steps / 20 is long against the mixing time. Noise is the evaluation stream of seed + b: training is
    not disturbed, and two policies with one seed meet the same arrivals. The rollout is compiled where it can be
    (see `Collector`); the numbers are the same.

    Errors: `ConfigError` if steps < 20 or burn_in < 0, or if the policy was made for another network, other sizes or other
    legal actions than `env` has.
    """
    check_together(env, policy)
    steps = integer("eval.steps", steps, BATCHES)
    burn_in = steps // 10 if burn_in is None else integer("eval.burn_in", burn_in, 0)
    recorded = torch.arange(steps) * BATCHES // steps
    batch = torch.cat([torch.full((burn_in,), -1), recorded])
    sums = torch.zeros(BATCHES, policy.replicas, env.n, dtype=torch.float64)
    t = 0
    for rolled in from_a_fresh_start(env, policy, len(batch), seed):
        to = batch[t : t + len(rolled.r)]
        sums.index_add_(0, to[to >= 0], rolled.r[to >= 0])
        t += len(to)
    lengths = torch.bincount(recorded).double()
    batch_means = sums.mean(dim=2) / lengths[:, None]
    return Evaluation(
        average_reward=sums.sum(dim=0).mean(dim=1) / steps,
        half_width=_T_QUANTILE * batch_means.std(dim=0) / BATCHES**0.5,
        agent_reward=sums.sum(dim=0) / steps,
        segments=batch_means.T,
        steps=steps,
        burn_in=burn_in,
    )
