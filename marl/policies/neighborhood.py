"""Policies zeta_i(a_i | s_{N_i^kappa_p}) let every agent see the states of those around it, as over a local link."""

from typing import Any

import torch
from torch import Tensor

from marl.core.checks import gib, integer, size
from marl.core.environment import FiniteEnvironment
from marl.core.errors import ConfigError, NotEnoughMemoryError
from marl.core.indexing import NeighborhoodKeys, NeighborhoodModule
from marl.core.lookup import summed_rows
from marl.core.memory import require
from marl.core.policy import Policy, TabularPolicy
from marl.core.shapes import States

MAX_ENTRIES = 2**28
"""`NeighborhoodTable` is refused beyond this many entries over all replicas."""


class NeighborhoodPolicy(Policy, NeighborhoodModule):
    """This base class is for agents that see the states of N_i^kappa_p, `neighborhood`. Implement `_logits`.

    kappa: the hops kappa_p that agents see.
    """

    def __init__(self, env: FiniteEnvironment, *, kappa: int = 1, **run: Any):
        super().__init__(env, **run)
        self.kappa = self.hops = integer("policy.kappa", kappa, 0)
        self.neighborhood = env.network.neighborhood(self.kappa)


class NeighborhoodSoftmax(NeighborhoodPolicy):
    """The logits are sum_{j in N_i^kappa_p} theta_ij[s_i, s_j, a] / sqrt(|N_i^kappa_p|) over the legal a; theta(0) = 0.

    The log-linear form: own state and that of each neighbor in pairs (i, j), so its size grows with the number of neighbors
    and not with that of their joint states. The full table over these is `NeighborhoodTable`.
    kappa: the hops kappa_p that agents see. At 0 it is the tabular softmax policy, theta_ii[s_i, s_i, a] being its table.
    Shapes: parameter `theta` [B, n, m, S, S, A].
    """

    _start: Tensor
    _scale: Tensor

    def __init__(self, env: FiniteEnvironment, **run: Any):
        super().__init__(env, **run)
        index, mask, size = self.neighborhood
        states, actions = env.action_mask.shape[1:]
        self.theta = self.initial.zeros(*index.shape, states, states, actions)
        start = torch.arange(self.replicas * index.numel()).view(self.replicas, *index.shape) * states**2
        scale = mask.to(self.dtype) / size[:, None].to(self.dtype).sqrt()
        self.register_buffer("_start", start, persistent=False)
        self.register_buffer("_scale", scale, persistent=False)

    def linear(self) -> Any:
        """Returns the parameters as compiled loops learn them, see `marl.kernels.neighborhood_softmax`."""
        from marl.kernels.neighborhood_softmax import LogLinear  # numba takes its time: only where it is used

        index, _, size = (x.cpu().numpy() for x in self.neighborhood)
        scale = self._scale[:, 0].double().cpu().numpy()
        return LogLinear(self.theta.detach().double().cpu().numpy(), index, size, scale, self.env.action_mask.numpy())

    def sampled(self) -> Any:
        """Returns what compiled rollouts draw from."""
        return self.linear()

    def _logits(self, s: Tensor) -> Tensor:
        states, actions = self.theta.shape[-2:]
        rows = self._start + s[..., None] * states + s[..., self._neighborhood_index]
        return summed_rows(self.theta.view(-1, actions), rows, self._scale)


class NeighborhoodTable(NeighborhoodPolicy, TabularPolicy):
    """The logits are theta[base_i + sum_{j in N_i^kappa_p} stride_ij s_j, a] over the legal a; theta(0) = 0.

    The full table: a free logit for every joint state of the neighborhood and every action, so that any zeta_i that is
    positive on the legal a can be reached. The log-linear form, far smaller, is `NeighborhoodSoftmax`.
    Mixed radix: stride_ij is the product of |S_l| over the members l of N_i^kappa_p before j, in the order of
    `Neighborhood.index`; base_i are the rows of the agents before i.
    kappa: the hops kappa_p that agents see. At 0 it is the tabular softmax policy.
    Shapes: parameter `theta` [B, rows, A], rows = sum_i prod_{j in N_i^kappa_p} |S_j|.
    Errors: `ConfigError` beyond 2^28 entries over all replicas, or if the table and its gradient would not fit into memory.
    """

    _start: Tensor
    _stride: Tensor

    def __init__(self, env: FiniteEnvironment, **run: Any):
        super().__init__(env, **run)
        keys = NeighborhoodKeys(self.neighborhood, env.num_states)
        rows, actions = int(min(keys.total, 1e300)), env.action_mask.shape[2]
        _check_size(self.kappa, rows, self.replicas * rows * actions, self.dtype.itemsize)
        self.theta = self.initial.zeros(rows, actions)
        start = torch.arange(self.replicas)[:, None] * rows + keys.base
        self.register_buffer("_start", start, persistent=False)
        self.register_buffer("_stride", keys.stride, persistent=False)

    def rows(self, s: States) -> States:
        return self._start + (s[..., self._neighborhood_index] * self._stride).sum(dim=-1)


class NeighborhoodNeural(NeighborhoodPolicy):
    """The logits are W_i tanh(sum_{j in N_i^kappa_p} E_ij[s_j]) + b_i.

    This is one hidden layer per agent on the states that it sees. The output layer starts at zero, so the start is uniform
    over legal actions.
    Shapes: embedding [B, n, m, S, hidden], weight [B, n, hidden, A], bias [B, n, A].
    """

    _start: Tensor
    _mask: Tensor

    def __init__(self, env: FiniteEnvironment, *, hidden: int = 16, **run: Any):
        super().__init__(env, **run)
        hidden = integer("policy.hidden", hidden, 1)
        index, mask, _ = self.neighborhood
        n, states, actions = env.action_mask.shape
        self.embedding = self.initial.uniform(*index.shape, states, hidden, bound=1.0)
        self.weight = self.initial.zeros(n, hidden, actions)
        self.bias = self.initial.zeros(n, actions)
        start = torch.arange(self.replicas * index.numel()).view(self.replicas, *index.shape) * states
        self.register_buffer("_start", start, persistent=False)
        self.register_buffer("_mask", mask.to(self.dtype), persistent=False)

    def networks(self) -> Any:
        """Returns the networks as compiled updates change them, see `marl.kernels.hidden_layer`."""
        from marl.kernels.hidden_layer import HiddenLayer  # numba takes its time: only where it is used

        index, _, size = self.neighborhood
        parameters = (x.detach().numpy() for x in (self.embedding, self.weight, self.bias))
        return HiddenLayer(index.numpy(), size.numpy(), *parameters)

    def sampled(self) -> Any:
        """Returns what compiled rollouts draw from, see `marl.kernels.neighborhood_network`."""
        from marl.kernels.neighborhood_network import Networks  # numba takes its time: only where it is used

        index, _, size = self.neighborhood
        parameters = [x.detach().double().cpu().numpy() for x in (self.embedding, self.weight, self.bias)]
        return Networks(index.cpu().numpy(), size.cpu().numpy(), self.env.action_mask.numpy(), *parameters)

    def _logits(self, s: Tensor) -> Tensor:
        rows = self._start + s[..., self._neighborhood_index]
        seen = summed_rows(self.embedding.view(-1, self.embedding.shape[-1]), rows, self._mask)
        return torch.einsum("...bnh,bnha->...bna", torch.tanh(seen), self.weight) + self.bias


def _check_size(kappa: int, rows: int, entries: int, width: int) -> None:
    """Raises `ConfigError` if a `NeighborhoodTable` of so many entries, `width` bytes each, does not fit."""
    table = f"policy=neighborhood_table with {size(rows)} rows at policy.kappa={kappa}"
    advice = "use a smaller policy.kappa, fewer replicas or policy=neighborhood_softmax"
    if entries > MAX_ENTRIES:
        raise ConfigError(
            f"{table} needs {gib(entries * width)} GiB, more than the {gib(MAX_ENTRIES * width)} GiB allowed; {advice}"
        )
    try:
        require(2 * entries * width, f"{table}, and a gradient of its size,")
    except NotEnoughMemoryError as error:
        raise ConfigError(f"{error}; {advice}") from None
