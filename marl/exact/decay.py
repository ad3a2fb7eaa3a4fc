"""The left side of (4) says how much Q_i changes when everything outside N_i^kappa does, exactly."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from marl.core.checks import integer
from marl.core.errors import ConfigError
from marl.core.shapes import Whole
from marl.core.whole import whole
from marl.exact.interaction import random_pairs
from marl.exact.truncation import JointPairs, outside
from marl.exact.values import Values

FLOOR = 1e-14
"""Left sides below this, relative to the largest, are rounding and not fitted."""


def decay_curve(values: Values, agent: int, s: Whole, a: Whole) -> Float[Tensor, "n"]:
    """Computes |Q_i(z_in, z_out) - Q_i(z_in, z'_out)| for kappa = 0 .. n-1, z = (s[0], a[0]), z' = (s[1], a[1]).

    Exactly 0 from the eccentricity of the agent on. Errors: `ConfigError` at illegal pairs.
    """
    chain = values.chain
    chain.laws.checked([agent])
    if agent not in values.agents:
        raise ConfigError(f"agent {agent} is not among the agents {values.agents} whose values were computed")
    s, a = whole("states", s), whole("actions", a)
    if s.shape != (2, chain.n) or a.shape != (2, chain.n):
        raise ConfigError(f"two joint pairs of {chain.n} agents are needed, got {list(s.shape)} and {list(a.shape)}")
    column = values.agents.index(agent)
    radius = torch.arange(chain.n)[:, None]
    inside = chain.env.network.distances(agent) <= radius  # what cannot be reached has no influence
    q = values.relative_q(
        torch.cat([s[:1], torch.where(inside, s[0], s[1])]), torch.cat([a[:1], torch.where(inside, a[0], a[1])])
    )
    return (q[1:, column] - q[0, column]).abs()


def worst_decay(joint: JointPairs, agent: int) -> Float[Tensor, "n"]:
    """Finds the supremum of (4) over all joint pairs, for kappa = 0 .. n-1."""
    chain = joint.chain
    chain.laws.checked([agent])
    q = joint.q[:, agent].reshape(joint.sizes)
    spans, reach = [], int(chain.env.network.distances(agent).max())
    for kappa in range(chain.n):
        beyond = outside(chain, agent, kappa) if kappa < reach else []
        spans.append((q.amax(dim=beyond) - q.amin(dim=beyond)).max() if beyond else torch.zeros((), dtype=torch.float64))
    return torch.stack(spans)


def sampled_decay(values: Values, agent: int, samples: int, seed: int = 0) -> Float[Tensor, "M n"]:
    """Computes the left side for `samples` random (z, z'); the largest is a lower bound on the supremum."""
    samples = integer("samples", samples, 1)
    draw = torch.Generator().manual_seed(seed)
    env = values.chain.env
    return torch.stack([decay_curve(values, agent, *random_pairs(env, 2, draw)) for _ in range(samples)])


class Fit(NamedTuple):
    """This fits left side ~ scale * rate^(kappa + 1), by least squares on logarithms. points: how many radii entered."""

    rate: float
    scale: float
    points: int


def fit(curve: Float[Tensor, "K"]) -> Fit:
    """Fits the exponential through a decay curve without zeros and rounding. NaN with fewer than two points left."""
    kept = (curve > FLOOR * curve.max()).nonzero()[:, 0].numpy()
    if len(kept) < 2:
        return Fit(float("nan"), float("nan"), len(kept))
    slope, height = np.polyfit(kept + 1.0, np.log(curve.numpy()[kept]), 1)
    return Fit(float(np.exp(slope)), float(np.exp(height)), len(kept))
