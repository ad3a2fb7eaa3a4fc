"""Values of states alone are baselines, for trainers that take the advantage from the rewards.

An actor that is improved by the critic's own values learns nothing from them.
"""

from typing import Any

import torch
from torch import Tensor

from marl.core.checks import integer
from marl.core.critic import Critic
from marl.core.environment import FiniteEnvironment
from marl.core.lookup import summed_rows
from marl.critics.graph import GraphNetwork
from marl.critics.shared import SharedNetwork


class StateValue(SharedNetwork):
    """V_i(s_{N_i^kappa}) = w . tanh(W tanh(x_i) + c) with y_j = s_j in x_i, see `SharedNetwork`.

    Shapes: those of `SharedNetwork`, count = the most states of any agent.
    """

    ignores_actions = True

    def __init__(self, env: FiniteEnvironment, *, hidden: int = 32, **run: Any):
        super().__init__(env, int(env.num_states.max()), hidden=hidden, **run)

    def _symbols(self, s: Tensor, a: Tensor) -> Tensor:
        return s


class GraphStateValue(GraphNetwork):
    """V_i(s_{N_i^kappa}) = w . h_i^kappa + v_i after kappa rounds of messages, y_j = s_j in h_j^0, see `GraphNetwork`.

    Shapes: those of `GraphNetwork`, count = the most states of any agent.
    """

    ignores_actions = True

    def __init__(self, env: FiniteEnvironment, *, hidden: int = 32, **run: Any):
        super().__init__(env, int(env.num_states.max()), hidden=hidden, **run)

    def _symbols(self, s: Tensor, a: Tensor) -> Tensor:
        return s


class NeuralStateValue(Critic):
    """V_i(s_{N_i^kappa}) = w_i . tanh(sum_{j in N_i^kappa} E_ij[s_j]) + b_i: a network of its own for every agent.

    The output starts at zero.
    Shapes: embedding E [B, n, m, S, h], weight w [B, n, h], bias b [B, n], h = hidden.
    """

    ignores_actions = True
    _start: Tensor
    _mask: Tensor

    def __init__(self, env: FiniteEnvironment, *, hidden: int = 16, **run: Any):
        super().__init__(env, **run)
        hidden = integer("critic.hidden", hidden, 1)
        n, width = self._neighborhood_index.shape
        states = int(env.num_states.max())
        self.embedding = self.initial.uniform(n, width, states, hidden, bound=width**-0.5)
        self.weight = self.initial.zeros(n, hidden)
        self.bias = self.initial.zeros(n)
        start = torch.arange(self.replicas * n * width).view(self.replicas, n, width) * states
        self.register_buffer("_start", start, persistent=False)
        self.register_buffer("_mask", self._neighborhood_mask.to(self.dtype), persistent=False)

    def networks(self) -> Any:
        """Returns the networks as compiled updates change them, see `marl.kernels.hidden_layer`."""
        from marl.kernels.hidden_layer import HiddenLayer  # numba takes its time: only where it is used

        index, _, size = self.neighborhood
        embedding, weight, bias = (x.detach().numpy() for x in (self.embedding, self.weight, self.bias))
        return HiddenLayer(index.numpy(), size.numpy(), embedding, weight[..., None], bias[..., None])

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        embedding = self.embedding
        rows = self._start + s[..., self._neighborhood_index]
        seen = summed_rows(embedding.view(-1, embedding.shape[-1]), rows, self._mask)
        return (torch.tanh(seen) * self.weight).sum(dim=-1) + self.bias
