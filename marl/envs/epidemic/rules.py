"""Rules by which people shield themselves in an epidemic are policies here; nothing in them is learned."""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from marl.core.checks import number
from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.lookup import over_neighbors
from marl.core.rule import DeterministicRule
from marl.envs.epidemic.env import Epidemic

MAX_ROUNDS = 10_000
"""So many rounds of the power iteration are taken before a graph is refused."""
SETTLED = 1e-10
"""Largest change of a centrality in the last round."""


class NeverShield(DeterministicRule):
    """No agent ever shields itself.

    Errors: `ConfigError` if the environment is no `Epidemic`.
    """

    system = Epidemic
    env: Epidemic

    def _choose(self, s: Tensor) -> Tensor:
        return torch.zeros_like(s)


class AlwaysShield(DeterministicRule):
    """Every agent shields itself all the time.

    Errors: `ConfigError` if the environment is no `Epidemic`.
    """

    system = Epidemic
    env: Epidemic

    def _choose(self, s: Tensor) -> Tensor:
        return torch.ones_like(s)


class ShieldIfNeighborInfected(DeterministicRule):
    """An agent shields itself iff at least one of its neighbors is infected, whatever its own state is.

    Errors: `ConfigError` if the environment is no `Epidemic`.
    """

    system = Epidemic
    env: Epidemic
    hops = 1
    _ends: Tensor

    def __init__(self, env: Environment, **run: Any):
        super().__init__(env, **run)
        self.register_buffer("_ends", torch.from_numpy(self.env.network.edges).T, persistent=False)

    def _choose(self, s: Tensor) -> Tensor:
        return (over_neighbors(self._ends, (s == 1).long()) > 0).long()


class _ShieldSome(DeterministicRule):
    """Certain agents shield themselves all the time, the others never."""

    system = Epidemic
    env: Epidemic
    _shields: Tensor

    def _let_shield(self, some: Tensor) -> None:
        self.register_buffer("_shields", some.long(), persistent=False)

    def _choose(self, s: Tensor) -> Tensor:
        return self._shields.expand(s.shape)


class ShieldByDegree(_ShieldSome):
    """An agent shields itself, all the time, iff it has more than `threshold` neighbors.

    threshold: at least 0; a degree equal to it is not above it.
    Errors: `ConfigError` if the environment is no `Epidemic`, or the threshold is negative.
    """

    def __init__(self, env: Environment, *, threshold: float = 2.0, **run: Any):
        super().__init__(env, **run)
        threshold = number("policy.threshold", threshold, 0.0)
        self._let_shield(torch.from_numpy(self.env.network.adjacency.degree > threshold))


class ShieldByCentrality(_ShieldSome):
    """An agent shields itself, all the time, iff its eigenvector centrality is above `threshold`.

    threshold: in [0, 1], where 1 is the centrality of the most central agent; a centrality equal to it, within 1e-6, is not
    above it. See `eigenvector_centrality`.
    Errors: `ConfigError` if the environment is no `Epidemic`, the threshold is out of range or no centrality is found.
    """

    def __init__(self, env: Environment, *, threshold: float = 0.5, **run: Any):
        super().__init__(env, **run)
        threshold = number("policy.threshold", threshold, 0.0, 1.0)
        self._let_shield(eigenvector_centrality(self.env) > threshold + 1e-6)


def eigenvector_centrality(env: Epidemic) -> Float[Tensor, "n"]:
    """Finds the eigenvector centrality of every agent, divided by the largest (Bonacich 1972).

    That is the eigenvector of the largest eigenvalue of the matrix of edge weights w_ij, by power iteration from equal
    entries. Of several parts of a graph only those with the largest eigenvalue have a centrality above 0.

    Errors: `ConfigError` if it has not settled after 10,000 rounds (a long line or a large grid, where the second
    eigenvalue is nearly as large).
    """
    (i, j), w = env.network.edges.T, env.weights.numpy()
    x = np.ones(env.n)
    for _ in range(MAX_ROUNDS):
        y = np.zeros(env.n)
        y += np.bincount(i, w * x[j], env.n)
        y += np.bincount(j, w * x[i], env.n)
        largest = float(np.sqrt((y @ y) / (x @ x))) or 1.0  # about the largest eigenvalue
        y += largest / 2 * x  # or the two sides of a bipartite graph would take turns
        y /= y.max()
        if np.abs(y - x).max() <= SETTLED:
            return torch.from_numpy(y)
        x = y
    raise ConfigError(
        f"the eigenvector centrality of this graph of {env.n} agents has not settled after {MAX_ROUNDS} rounds of power "
        "iteration; use policy=shield_by_degree"
    )
