"""The tabular critic is the truncated Q-table of Algorithm 1."""

from typing import Any

import torch
from torch import Tensor

from marl.core.critic import Critic
from marl.core.environment import FiniteEnvironment
from marl.critics.entries import Dummy, Entries


class TabularCritic(Critic):
    """Q_i(z_{N_i^kappa}) is one number per agent and joint pair of its neighborhood, zero until learned.

    storage: `dense` holds every joint pair, `hash` those visited so far and grows by itself, `auto` decides by size.
    Keys are exact while all agents together have fewer than 2^62 joint pairs, else fingerprints whose
    `collision_bound` is reported (see `NeighborhoodKeys`).
    dummy: the pair whose value stays 0 and that is never learned. None, or compact pair numbers: one for all agents,
    one per agent (the joint pair that every neighborhood sees its part of), or one list per agent, in the order of
    its neighborhood.
    Learn it with plain SGD: gradients are sparse.
    Errors: `ConfigError` if a dense table is demanded that cannot be held, or the dummy is not a legal pair.
    """

    table: Entries

    def __init__(
        self,
        env: FiniteEnvironment,
        *,
        kappa: int = 0,
        storage: str = "auto",
        dummy: Dummy = None,
        replicas: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__(env, kappa=kappa, replicas=replicas, seed=seed, dtype=dtype)
        given: dict[str, Any] = {"storage": storage, "dummy": dummy, "replicas": self.replicas, "dtype": dtype}
        self.table = Entries(env, self.neighborhood, kappa=self.kappa, **given)

    def fused(self) -> Any:
        """Returns the table as compiled loops know it, see `marl.kernels.critic_tables`; None if it is frozen."""
        return self.table.fused()

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        return self.table.q(s, a)
