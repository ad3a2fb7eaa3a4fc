"""These critics are linear in features of the neighborhood: derive one with your own."""

import math
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from marl.core.checks import integer, number
from marl.core.critic import Critic
from marl.core.environment import FiniteEnvironment


class LinearCritic(Critic):
    """This base class is for Q_i = w_i . phi_i(z_{N_i^kappa}). Implement `_features`.

    count: the number F of features. Features of norm about 1 keep the meaning that a step size has for a table.
    Shapes: weight [B, n, F]; it starts at zero.
    """

    def __init__(self, env: FiniteEnvironment, count: int, **run: Any):
        super().__init__(env, **run)
        self.weight = self.initial.zeros(env.n, count)

    @abstractmethod
    def _features(self, s: Tensor, a: Tensor) -> Tensor:
        """Returns phi_i(z_{N_i^kappa}), without parameters. Shapes: s, a [*K, B, n] -> [*K, B, n, F]."""

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        return (self._features(s, a) * self.weight).sum(dim=-1)


class RandomFeatures(LinearCritic):
    """phi_i = sqrt(2 / F) cos(sum_{j in N_i^kappa} omega_ij[z_j] + beta_i).

    Random Fourier features (Rahimi and Recht 2007) of one-hot pairs, for a Gaussian kernel of that width: two joint pairs
    that differ in d members have the expected product exp(-d / width^2). omega and beta are drawn from the stream of the
    critic's seed.
    Shapes: buffers omega [B, n, m, Z, F], beta [B, n, F].
    """

    omega: Tensor
    beta: Tensor
    _agent: Tensor
    _replica: Tensor
    _position: Tensor

    def __init__(
        self,
        env: FiniteEnvironment,
        *,
        kappa: int = 0,
        features: int = 64,
        width: float = 1.0,
        replicas: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        count = integer("critic.features", features, 1)
        super().__init__(env, count, kappa=kappa, replicas=replicas, seed=seed, dtype=dtype)
        n, near = self.neighborhood.index.shape
        shape = (n, near, int(env.index.num_pairs.max()), count)
        uniform = [(1.0 + self.initial.uniform(*shape, bound=1.0).detach().double()) / 2.0 for _ in range(2)]
        normal = (-2.0 * torch.log1p(-uniform[0])).sqrt() * (2.0 * math.pi * uniform[1]).cos()  # Box and Muller
        self.register_buffer("omega", (normal / number("critic.width", width, 1e-12)).to(dtype))
        self.register_buffer("beta", self.initial.uniform(n, count, bound=math.pi).detach())
        self.register_buffer("_agent", torch.arange(n)[:, None], persistent=False)
        self.register_buffer("_replica", torch.arange(self.replicas)[:, None, None], persistent=False)
        self.register_buffer("_position", torch.arange(near), persistent=False)

    def _features(self, s: Tensor, a: Tensor) -> Tensor:
        z = self.pair_index.pairs(s, a)[..., self._neighborhood_index]
        seen = self.omega[self._replica, self._agent, self._position, z] * self._neighborhood_mask[..., None]
        return (2.0 / self.weight.shape[-1]) ** 0.5 * torch.cos(seen.sum(dim=-2) + self.beta)
