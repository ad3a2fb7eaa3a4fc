"""The k-coloring problem of appendix A.2 is a networked system."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int
from torch import Tensor

from marl.core.checks import integer
from marl.core.environment import MAX_MASK, NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs.graph import graph as named_graph
from marl.kernels.arguments import FusedStep


class Coloring(NetworkedMDP):
    """Agent i has a color u_i and a bit b_i that says whether its color was alone among its neighbors'.

    s_i = 2 u_i + b_i, a_i a color, and with certainty u_i' = a_i, b_i' = 1 iff no neighbor j has u_j = u_i; r_i = b_i.
    Under a policy that does not look at s_i (`StateIndependentSoftmax`),
    J = (1/n) sum_i sum_u zeta_i(u) prod_{j ~ i} (1 - zeta_j(u)), and J = 1 iff the policy plays a proper coloring.

    graph: see `marl.envs.graph`. colors: k. A run starts in a uniform state per agent.
    Errors: `ConfigError`.
    """

    def __init__(self, graph: str | Network = "ring:5", colors: int = 3):
        network = named_graph(graph)
        self.colors = integer("env.colors", colors, 1)
        if network.n * 2 * self.colors**2 > MAX_MASK:
            raise ConfigError(f"env.colors={self.colors} are too many to list for {network.n} agents; choose fewer")
        self._ends = torch.from_numpy(network.edges).T
        super().__init__(
            network,
            num_states=torch.full((network.n,), 2 * self.colors),
            num_actions=torch.full((network.n,), self.colors),
            action_mask=torch.ones(network.n, 2 * self.colors, self.colors, dtype=torch.bool),
            num_uniforms=1,
            reward_range=(0.0, 1.0),
            private_actions=True,
            private_rewards=True,
        )

    def proper(self, colors_of: Int[Tensor, "*X n"]) -> Bool[Tensor, "*X"]:
        """Tells whether no two neighbors have the same color. Any leading axes."""
        return ~self._clash(colors_of).any(dim=-1)

    def state_name(self, i: int, s: int) -> str:
        return f"color {s >> 1}, {'alone' if s & 1 else 'clash'}"

    def action_name(self, i: int, a: int) -> str:
        return f"takes color {a}"

    def fused(self) -> FusedStep:
        """Gives the compiled step (see `marl.envs.coloring.kernel`) and its numbers."""
        from marl.envs.coloring import kernel  # numba takes its time: only where it is used

        return FusedStep(kernel.step, self.network.edges.flatten(), np.empty(0))

    def _clash(self, u: Tensor) -> Tensor:
        """Tells which edges [..., E] join two agents of one color."""
        return u[..., self._ends[0]] == u[..., self._ends[1]]

    def _reset(self, u: Tensor) -> Tensor:
        return (u[..., -1] * self.num_states).long()

    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        clash = self._clash(s >> 1).long()
        clashes = torch.zeros_like(s)  # by edges, not by padded neighbors: a hub would widen those of everybody
        clashes.index_add_(-1, self._ends[0], clash).index_add_(-1, self._ends[1], clash)
        return F.one_hot(2 * a + (clashes == 0), 2 * self.colors).double()

    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        return (s & 1).double()
