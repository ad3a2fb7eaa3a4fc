"""The interaction matrix C of Theorem 1 says how much one agent can change the next state of another.

C_ij bounds the total variation distance of P_i(. | ...) when agent j changes and nothing else. It is zero unless j is
a neighbor of i, so C is kept in the layout of `network.neighborhood(1)` and nothing is n x n.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from marl.core.checks import choice
from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.network import Neighborhood
from marl.exact.local_laws import LocalLaws, far_apart


class NeighborMatrix:
    """This is a non-negative matrix [n, n] whose entry (i, j) is zero unless j is in N_i^kappa.

    Shapes: entries [n, m], in the layout of `neighborhood`; padding is zero.
    """

    def __init__(self, entries: np.ndarray, neighborhood: Neighborhood):
        self.entries = np.where(neighborhood.mask.numpy(), entries, 0.0)
        self.neighborhood = neighborhood
        self._index = neighborhood.index.numpy().copy()  # torch moves what is given to other processes

    def __matmul__(self, x: np.ndarray) -> np.ndarray:
        """Computes C x, column by column. Shapes: x [n, k]."""
        return np.einsum("nm,nmk->nk", self.entries, x[self._index])

    def transposed(self) -> "NeighborMatrix":
        """Returns C', whose entries have the same layout because N_i^kappa is symmetric."""
        n, mask = len(self.entries), self.neighborhood.mask.numpy()
        row, column = np.repeat(np.arange(n), mask.sum(axis=1)), self._index[mask]
        entries = np.zeros_like(self.entries)
        entries[mask] = self.entries[mask][np.searchsorted(row * n + column, column * n + row)]
        return NeighborMatrix(entries, self.neighborhood)

    def row_sums(self) -> Float[Tensor, "n"]:
        """Computes sum_j C_ij, which Theorem 1 wants below 1."""
        return torch.from_numpy(self.entries.sum(axis=1))

    def dense(self) -> Float[Tensor, "n n"]:
        """Writes the matrix out, for small networks."""
        full = np.zeros((len(self.entries),) * 2)
        np.add.at(full, (np.arange(len(full))[:, None], self._index), self.entries)
        return torch.from_numpy(full)


def interaction_matrix(laws: LocalLaws, form: str = "z") -> NeighborMatrix:
    """Computes C of the paper's Theorem 1 (`paper`: s_j changes, or i's own pair), or its z-form (`z`: z_j changes).

    C_ij = sup TV(P_i(. | x_j, rest), P_i(. | x_j', rest)) over all legal x_j, x_j', rest. Where actions are private the
    forms agree. Errors: `ConfigError` for the paper's form where laws see the neighbors' actions.
    """
    if choice("form", form, ("paper", "z")) == "paper" and laws.sees_pairs:
        raise ConfigError(
            "Theorem 1 does not apply: it needs laws P_i(s_i' | s_{N_i}, a_i), and here they see the neighbors' actions; "
            "use form=z"
        )
    neighborhood = laws.env.network.neighborhood(1)
    entries = np.zeros(neighborhood.index.shape)
    for i, table in enumerate(laws.law):
        entries[i, : table.ndim - 1] = [variation(table, axis) for axis in range(table.ndim - 1)]
    return NeighborMatrix(entries, neighborhood)


def least_interaction(env: NetworkedMDP, samples: int = 64, seed: int = 0) -> NeighborMatrix:
    """Finds entries that C in z-form at least has, from random joint pairs: for neighborhoods too large to list.

    Good for showing that a condition on C fails, never that it holds.
    """
    neighborhood = env.network.neighborhood(1)
    draw = torch.Generator().manual_seed(seed)
    entries = np.zeros(neighborhood.index.shape)
    s, a = random_pairs(env, samples, draw)
    before = env.transition(s, a)
    groups = far_apart([near[mask].tolist() for near, mask in zip(*neighborhood[:2], strict=True)])
    for place in range(entries.shape[1]):  # every agent of a group meets a change of its neighbor number `place` alone
        for group in groups:
            other_s, other_a = random_pairs(env, samples, draw)
            changed = neighborhood.index[group, place]
            new_s, new_a = s.clone(), a.clone()
            new_s[:, changed], new_a[:, changed] = other_s[:, changed], other_a[:, changed]
            distance = (env.transition(new_s, new_a) - before)[:, group].abs().sum(dim=-1) / 2
            entries[group, place] = distance.amax(dim=0).numpy()
    return NeighborMatrix(entries, neighborhood)


def random_pairs(env: NetworkedMDP, count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws joint pairs (s, a) [count, n]: states uniform, actions uniform over the legal ones, as in B.4."""
    s = (torch.rand(count, env.n, generator=draw, dtype=torch.float64) * env.num_states).long()
    legal = env.action_mask[torch.arange(env.n), s].double()
    return s, torch.multinomial(legal.flatten(0, 1), 1, generator=draw).reshape(count, env.n)


def reward_variation(laws: LocalLaws) -> NeighborMatrix:
    """Computes delta_j(r_i), the most that E[r_i | z_{N_i}] changes with z_j alone; private: the span of r_i at j = i."""
    neighborhood = laws.env.network.neighborhood(1)
    change = np.zeros(neighborhood.index.shape)
    for i, table in enumerate(laws.reward):
        if laws.env.private_rewards:
            change[i, laws.own[i]] = np.ptp(table)
        else:
            change[i, : table.ndim] = [float(np.ptp(table, axis=axis).max()) for axis in range(table.ndim)]
    return NeighborMatrix(change, neighborhood)


def variation(table: Float[np.ndarray, "*D S"], axis: int) -> float:
    """Computes the sup of the total variation distance of two rows that differ along `axis` only."""
    rows = np.moveaxis(table, axis, 0)
    if len(rows) == 1:
        return 0.0
    return max(float(np.abs(rows[k:] - rows[:-k]).sum(axis=-1).max()) for k in range(1, len(rows))) / 2.0
