"""The value of states alone is a baseline, for trainers that want one."""

import torch
from torch import Tensor

from marl.core.environment import FiniteEnvironment
from marl.critics.shared import SharedNetwork


class StateValue(SharedNetwork):
    """V_i(s_{N_i^kappa}) = w . tanh(W tanh(x_i) + c) with y_j = s_j in x_i, see `SharedNetwork`: blind to actions.

    A baseline, for trainers that take the advantage from the rewards (`IndependentPPO`). An actor that is improved by the
    critic's own values learns nothing from it.
    Shapes: those of `SharedNetwork`, count = the most states of any agent.
    """

    ignores_actions = True

    def __init__(
        self,
        env: FiniteEnvironment,
        *,
        kappa: int = 0,
        hidden: int = 32,
        replicas: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        count = int(env.num_states.max())
        super().__init__(env, count, kappa=kappa, hidden=hidden, replicas=replicas, seed=seed, dtype=dtype)

    def _symbols(self, s: Tensor, a: Tensor) -> Tensor:
        return s
