"""The neural policy is a small network per agent."""

import torch
from torch import Tensor

from marl.core.checks import integer
from marl.core.environment import FiniteEnvironment
from marl.core.policy import Policy


class NeuralPolicy(Policy):
    """logits_i(s) = W_i tanh(E_i[s]) + b_i: one hidden layer per agent on the one-hot local state.

    The output layer starts at zero, so the start is uniform over legal actions, as in the paper.
    All agents of all replicas are evaluated in one batched product.
    Shapes: embedding [B, n, S, hidden], weight [B, n, hidden, A], bias [B, n, A].
    """

    _replica: Tensor
    _agent: Tensor

    def __init__(
        self,
        env: FiniteEnvironment,
        *,
        hidden: int = 16,
        replicas: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__(env, replicas=replicas, seed=seed, dtype=dtype)
        hidden = integer("policy.hidden", hidden, 1)
        n, states, actions = env.action_mask.shape
        self.embedding = self.initial.uniform(n, states, hidden, bound=1.0)
        self.weight = self.initial.zeros(n, hidden, actions)
        self.bias = self.initial.zeros(n, actions)
        self.register_buffer("_replica", torch.arange(self.replicas)[:, None], persistent=False)
        self.register_buffer("_agent", torch.arange(n), persistent=False)

    def _logits(self, s: Tensor) -> Tensor:
        hidden = torch.tanh(self.embedding[self._replica, self._agent, s])
        return torch.einsum("...bnh,bnha->...bna", hidden, self.weight) + self.bias
