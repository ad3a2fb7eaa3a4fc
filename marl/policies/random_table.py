"""This is a fixed random policy, as in the experiments of appendix B.4."""

import numpy as np
import torch
from torch import Tensor

from marl.core.checks import choice, integer
from marl.core.environment import FiniteEnvironment
from marl.core.policy import Policy


class RandomTable(Policy):
    """zeta_i(. | s_i) = row s_i of a table that is drawn once, over the legal actions; nothing is learned.

    distribution of a row: `normalized` = independent U[0,1) numbers divided by their sum; `dirichlet` = uniform on the
    simplex. The table comes from `numpy.random.default_rng([1, instance_seed])`, a stream that no environment draws its
    instance from; one number for every (i, s, a), agents slowest. It is the same in all replicas.
    Shapes: buffer `table` [n, S, A], zero where the action is illegal.
    """

    table: Tensor

    def __init__(
        self,
        env: FiniteEnvironment,
        *,
        distribution: str = "normalized",
        instance_seed: int = 0,
        replicas: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__(env, replicas=replicas, seed=seed, dtype=dtype)
        draw = np.random.default_rng([1, integer("policy.instance_seed", instance_seed, 0)])
        dirichlet = choice("policy.distribution", distribution, ("normalized", "dirichlet")) == "dirichlet"
        # Normalized exponentials are uniform on the simplex, also of the legal actions alone.
        weight = (draw.standard_exponential if dirichlet else draw.random)(tuple(env.action_mask.shape))
        legal = torch.from_numpy(weight) * env.action_mask
        total = legal.sum(dim=-1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)  # padded states have none
        self.register_buffer("table", (legal / total).to(dtype))

    def _logits(self, s: Tensor) -> Tensor:
        return self.table.flatten(0, 1)[self._row + s].log()
