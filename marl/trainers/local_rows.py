"""What the law or the reward of an agent depends on has a number, a row of a table: the joint pairs of its neighborhood."""

import torch
from jaxtyping import Int64
from torch import Tensor

from marl.core.environment import FiniteEnvironment


class LocalRows:
    """This numbers (i, x_{N_i}), where x_j is the pair z_j of agent j, or its state s_j, or nothing.

    Agent i sees its own pair; of the others it sees pairs (`sees_actions`), states, or nothing (not `sees_neighbors`).
    Mixed radix: row = base_i + sum_j stride_ij x_j, agents one after the other. (i, j, x_i, x_j) are numbered likewise by
    pair rows, for every j of N_i that i sees; j = i stands for x_i alone.

    Attributes: `count`, `pair_count`: how many rows and pair rows there are. `agent` [R]: whose a row is. `pairs` [R, m]:
    the pair rows that it falls into, where `seen` [R, m]; `others` [R, m]: where these are of another agent. `own` [R]: the
    pair row of x_i alone. `alone`, `pair_agent` [R2]: the same of every pair row.
    """

    def __init__(self, env: FiniteEnvironment, *, sees_actions: bool, sees_neighbors: bool):
        index, mask, _ = env.network.neighborhood(1)
        self._index, self._pair_index = index, env.index
        own = mask & (index == torch.arange(env.n)[:, None])
        self._as_pair, self._seen = mask & (own | sees_actions), mask & (own | sees_neighbors)
        radix = sizes(env, sees_actions=sees_actions, sees_neighbors=sees_neighbors)
        powers = radix.cumprod(dim=1)
        self._stride = torch.where(self._seen, powers // radix, 0)
        self._base = powers[:, -1].cumsum(dim=0) - powers[:, -1]
        self.count = int(powers[:, -1].sum())
        self.agent = torch.repeat_interleave(torch.arange(env.n), powers[:, -1])
        self._number_pairs(radix, own)

    def row(self, s: Int64[Tensor, "*X n"], a: Int64[Tensor, "*X n"]) -> Int64[Tensor, "*X n"]:
        """Numbers the rows of all agents. Any leading axes."""
        z = self._pair_index.pairs(s[None], a[None])[0]
        x = torch.where(self._as_pair, z[..., self._index], s[..., self._index])
        return (x * self._stride).sum(dim=-1) + self._base

    def _number_pairs(self, radix: Tensor, own: Tensor) -> None:
        owner = self.agent
        counts = torch.where(self._seen, torch.where(own, 1, radix[own][:, None]) * radix, 0)
        ends = counts.flatten().cumsum(dim=0).view_as(counts)
        self.pair_count = int(ends[-1, -1])
        place = (torch.arange(self.count) - self._base[owner])[:, None] // self._stride[owner].clamp(min=1)
        x = place % radix[owner]
        own_x = x[own[owner]][:, None]
        self.pairs = (ends - counts)[owner] + torch.where(own, 0, radix)[owner] * own_x + x
        self.seen, self.others = self._seen[owner], (self._seen & ~own)[owner]
        self.own = self.pairs[own[owner]]
        numbers, members = self.pairs[self.seen], self.seen.sum(dim=1)
        self.alone, self.pair_agent = (torch.zeros(self.pair_count, dtype=torch.int64) for _ in range(2))
        self.alone[numbers] = self.own.repeat_interleave(members)
        self.pair_agent[numbers] = owner.repeat_interleave(members)


def sizes(env: FiniteEnvironment, *, sees_actions: bool, sees_neighbors: bool) -> Tensor:
    """Counts the values of x_j for every j of N_i, 1 where i sees nothing of it. Shapes: [n, m]."""
    index, mask, _ = env.network.neighborhood(1)
    own = mask & (index == torch.arange(env.n)[:, None])
    many = torch.where(own | sees_actions, env.index.num_pairs[index], env.num_states[index])
    return torch.where(mask & (own | sees_neighbors), many, 1)
