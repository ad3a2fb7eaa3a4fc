"""Long-run average reward of a frozen policy, with a confidence interval."""

from dataclasses import dataclass

import torch
from torch import Tensor

from marl.core.checks import integer
from marl.core.environment import Environment
from marl.core.noise import Noise, Purpose
from marl.core.policy import Policy

BATCHES = 20
_T_QUANTILE = 2.093  # Student's t, 19 degrees of freedom, 97.5 %


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured.

    Shapes: average_reward [B] (over agents and steps), half_width [B] (95 % interval is average +- half_width),
    agent_reward [B, n].
    """

    average_reward: Tensor
    half_width: Tensor
    agent_reward: Tensor
    steps: int
    burn_in: int


@torch.no_grad()
def evaluate(env: Environment, policy: Policy, *, steps: int, burn_in: int | None = None, seed: int = 0) -> Evaluation:
    """Runs `policy` from a fresh start for `burn_in` unrecorded steps (default steps / 10), then `steps` recorded ones.

    The interval comes from batch means: 20 consecutive batches are taken as independent normal draws, so it is
    honest once steps / 20 is long against the mixing time. Noise is the evaluation stream of seed + b: training is
    not disturbed, and two policies with one seed meet the same arrivals.

    Errors: `ConfigError` if steps < 20 or burn_in < 0.
    """
    steps = integer("eval.steps", steps, BATCHES)
    burn_in = steps // 10 if burn_in is None else integer("eval.burn_in", burn_in, 0)
    replicas, width = policy.replicas, env.num_uniforms + 1
    noise = Noise(seed, replicas, env.n, width, Purpose.EVALUATION)
    u = noise(0)
    s = env.reset(u[..., :-1])
    a = policy.sample(s, u[..., -1])
    sums = torch.zeros(BATCHES, replicas, env.n, dtype=torch.float64)
    for t in range(burn_in + steps):
        u = noise(t + 1)
        s, r = env.step(s, a, u[..., :-1])
        a = policy.sample(s, u[..., -1])
        if t >= burn_in:
            sums[(t - burn_in) * BATCHES // steps] += r
    lengths = torch.bincount(torch.arange(steps) * BATCHES // steps).double()
    batch_means = sums.mean(dim=2) / lengths[:, None]
    return Evaluation(
        average_reward=sums.sum(dim=0).mean(dim=1) / steps,
        half_width=_T_QUANTILE * batch_means.std(dim=0) / BATCHES**0.5,
        agent_reward=sums.sum(dim=0) / steps,
        steps=steps,
        burn_in=burn_in,
    )
