"""Long-run average reward of a frozen policy, with a confidence interval."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from marl.core.checks import integer
from marl.core.environment import Environment
from marl.core.fused import action_count, arguments, check_states, last_actions, refusal, spread
from marl.core.noise import Noise, Purpose
from marl.core.policy import Policy

BATCHES = 20
MAX_TABLE = 2**25
"""Largest replicas x agents x states x actions whose probabilities are laid out as a table, to roll out compiled."""
CHUNK = 4096
"""Most compiled steps of one call."""
_T_QUANTILE = 2.093  # Student's t, 19 degrees of freedom, 97.5 %


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured.

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
    not disturbed, and two policies with one seed meet the same arrivals. Where the environment has a compiled step the
    rollout is compiled, for any policy that does not draw its actions in a way of its own; the numbers are the same.

    Errors: `ConfigError` if steps < 20 or burn_in < 0.
    """
    steps = integer("eval.steps", steps, BATCHES)
    burn_in = steps // 10 if burn_in is None else integer("eval.burn_in", burn_in, 0)
    noise = Noise(seed, policy.replicas, env.n, env.num_uniforms + 1, Purpose.EVALUATION)
    u = noise(0)
    s = env.reset(u[..., :-1])
    a = policy.sample(s, u[..., -1])
    recorded = torch.arange(steps) * BATCHES // steps
    batch = torch.cat([torch.full((burn_in,), -1), recorded])
    sums = torch.zeros(policy.replicas, BATCHES, env.n, dtype=torch.float64)
    own = type(policy).sample is not Policy.sample or policy.replicas * env.action_mask.numel() > MAX_TABLE
    compiled = None if own else env.fused()
    if compiled is None or refusal(env, compiled):
        _roll(env, policy, noise, s, a, batch, sums)
    else:
        _roll_compiled(env, policy, noise, s, a, batch, sums)
    sums = sums.transpose(0, 1)
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


def _roll(env: Environment, policy: Policy, noise: Noise, s: Tensor, a: Tensor, batch: Tensor, sums: Tensor) -> None:
    """Adds the rewards of step t to sums[:, batch[t]], or to nothing if that is -1. Shapes: sums [B, BATCHES, n]."""
    for t, k in enumerate(batch.tolist()):
        u = noise(t + 1)
        s, r = env.step(s, a, u[..., :-1])
        a = policy.sample(s, u[..., -1])
        if k >= 0:
            sums[:, k] += r


def _roll_compiled(
    env: Environment, policy: Policy, noise: Noise, s: Tensor, a: Tensor, batch: Tensor, sums: Tensor
) -> None:
    """The same, with the policy's probabilities in every state written out."""
    from marl.kernels import rollout as kernel  # numba takes its time: only where it is used

    n, states, count = env.action_mask.shape
    laid_out = torch.zeros(policy.replicas, n, states, 2, count, dtype=policy.dtype)  # logits are not read
    laid_out[:, :, :, 1] = policy.probability_table()
    rows = laid_out.flatten(1).numpy()
    last = last_actions(env.action_mask).numpy()
    given = *arguments(env), action_count(count)
    now_s, now_a = (np.array(part.numpy(), dtype=np.int64, order="C") for part in (s, a))
    done = np.zeros(policy.replicas, dtype=np.int64)
    for t in range(0, len(batch), CHUNK):
        part = batch[t : t + CHUNK].numpy()
        with spread(policy.replicas) as threaded:
            if threaded:
                kernel.rollout(*given, rows, last, noise.keys, now_s, now_a, t, part, sums.numpy(), done)
            else:
                for b, to in enumerate(sums.numpy()):
                    done[b] = kernel.rollout_one(*given, rows[b], last, noise.keys[b], now_s[b], now_a[b], t, part, to)
        check_states(env, done)
