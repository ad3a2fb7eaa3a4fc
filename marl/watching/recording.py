"""What is shown is recorded first, by the rollouts that evaluations are made of."""

from typing import NamedTuple

import numpy as np
import torch

from marl.core.checks import integer
from marl.core.environment import FiniteEnvironment
from marl.core.errors import ConfigError
from marl.core.policy import Policy
from marl.core.together import check_together
from marl.trainers.rollout import from_a_fresh_start

MAX_AGENTS = 5000
"""Most agents that a browser moves."""
MAX_MOMENTS = 2**21
"""Most agents x steps of a page: 25 MB."""


class Recording(NamedTuple):
    """These are K steps of one replica. Shapes: s, a int64 [K, n]; r float64 [K, n], what z(t) earned."""

    s: np.ndarray
    a: np.ndarray
    r: np.ndarray


@torch.no_grad()
def record(env: FiniteEnvironment, policy: Policy, *, steps: int, seed: int = 0, replica: int = 0) -> Recording:
    """Runs the policy from a fresh start and keeps what one replica of it does.

    It is what `evaluate` sees with the same seed and no burn-in: the noise of replica b is that of seed + b.
    Errors: `ConfigError` if there is no such replica, or more than 5,000 agents, or 2^21 agents times steps.
    """
    check_together(env, policy)
    steps, replica = integer("steps", steps, 1), integer("replica", replica, 0)
    if replica >= policy.replicas:
        raise ConfigError(f"replica={replica} does not exist: the policy has replicas 0 to {policy.replicas - 1}")
    if env.n > MAX_AGENTS:
        raise ConfigError(f"{env.n} agents are too many to watch; at most {MAX_AGENTS} can be shown")
    if env.n * steps > MAX_MOMENTS:
        raise ConfigError(
            f"steps={steps} of {env.n} agents are too many to watch; at most {MAX_MOMENTS // env.n} can be shown"
        )
    kept = [
        Recording(*(part[: len(rolled.r), replica].numpy() for part in rolled))
        for rolled in from_a_fresh_start(env, policy, steps, seed)
    ]
    return Recording(*map(np.concatenate, zip(*kept, strict=True)))
