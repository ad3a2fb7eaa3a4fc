"""Numbers for pairs: the legal (s_i, a_i) of each agent, and the joint pairs z_{N_i^kappa} of its neighborhood."""

import torch
from jaxtyping import Int64
from torch import Tensor

from marl.core.network import Neighborhood
from marl.core.shapes import ActionMask, Actions, Pairs, States

_EXACT_LIMIT = 2.0**62
_FINGERPRINT_MASK = 2**63 - 1


class PairIndex:
    """Numbers the legal pairs of agent i compactly, 0..|Z_i|-1, states first.

    Shapes: `table` [n, S, A] (-1 where the pair is illegal or padding), `num_pairs` [n].
    """

    def __init__(self, action_mask: ActionMask):
        n, states, actions = action_mask.shape
        flat = action_mask.reshape(n, -1)
        self.num_pairs: Int64[Tensor, n] = flat.sum(dim=1)
        self.table: Int64[Tensor, "n S A"] = torch.where(flat, flat.cumsum(dim=1) - 1, -1).reshape(action_mask.shape)
        self._actions = actions
        self._offset = torch.arange(n) * (states * actions)

    def pairs(self, s: States, a: Actions) -> Pairs:
        """z_i: the number of (s_i, a_i); -1 if illegal. Shapes: s, a, result [*K, B, n]."""
        where = s.device
        return torch.take(self.table.to(where), self._offset.to(where) + s * self._actions + a)

    def choices(self, s: States) -> Int64[Tensor, "*K B n A"]:
        """The number of (s_i, a) for every action a; -1 where illegal. Shapes: s [*K, B, n] -> [*K, B, n, A]."""
        return self.table.to(s.device)[torch.arange(len(self.table), device=s.device), s]


def positions(neighborhood: Neighborhood) -> Int64[Tensor, "n m"]:
    """Where i stands in the row of its j-th neighbor: index[index[i, j], positions[i, j]] = i (0 on padding)."""
    index, mask, size = neighborhood
    n = len(index)
    center = torch.arange(n)[:, None].expand_as(index)
    codes = center[mask] * n + index[mask]  # increasing
    first = size.cumsum(dim=0) - size
    found = torch.searchsorted(codes, index[mask] * n + center[mask]) - first[index[mask]]
    return torch.zeros_like(index).masked_scatter(mask, found)


class NeighborhoodKeys:
    """One integer for (agent i, z_{N_i^kappa}), never negative.

    Exact, if all agents together have fewer than 2^62 joint pairs: mixed radix, key = base_i + sum_j stride_ij z_j
    with stride_ij the product of |Z_l| over the neighbors l before j and base_i the joint pairs of agents before i,
    so keys of all agents are distinct and fill 0..total-1.

    Otherwise a 63-bit fingerprint: base and strides drawn uniformly from 64-bit integers, sums modulo 2^63.
    Two different joint pairs get the same key with probability at most `pair_collision_bound` =
    2^k / 2^63, 2^k the largest power of two not above max |Z_j| - 1 (the sum of independent uniform multiples of
    the differences vanishes modulo 2^63 with that probability); for pairs of different agents it is 2^-63.
    """

    def __init__(self, neighborhood: Neighborhood, num_pairs: Int64[Tensor, "n"]):
        self.index = neighborhood.index
        radix = torch.where(neighborhood.mask, num_pairs[neighborhood.index], 1)
        self.total = float(radix.double().prod(dim=1).sum())
        self.exact = self.total < _EXACT_LIMIT
        if self.exact:
            powers = radix.cumprod(dim=1)
            stride = powers // radix
            self.base = powers[:, -1].cumsum(dim=0) - powers[:, -1]
            self.pair_collision_bound = 0.0
        else:
            generator = torch.Generator().manual_seed(0)
            low, high = -(2**63), 2**63 - 1
            stride = torch.randint(low, high, radix.shape, generator=generator)
            self.base = torch.randint(low, high, (len(radix),), generator=generator)
            self.pair_collision_bound = 2.0 ** (int(num_pairs.max() - 1).bit_length() - 1 - 63)
        self.stride = torch.where(neighborhood.mask, stride, 0)

    def keys(self, z: Pairs) -> Pairs:
        """Shapes: z, result [*K, B, n]."""
        return self.of(z[..., self.index])

    def of(self, joint: Int64[Tensor, "*B n m"]) -> Int64[Tensor, "*B n"]:
        """The keys of joint pairs written out, neighbor by neighbor in the order of `Neighborhood.index`."""
        key = (joint * self.stride).sum(dim=-1) + self.base
        return key if self.exact else key & _FINGERPRINT_MASK


def last_actions(action_mask: ActionMask) -> Int64[Tensor, "n S"]:
    """The last legal action of agent i in state s, 0 where there is none. Shapes: action_mask [n, S, A] -> [n, S]."""
    return (action_mask * torch.arange(action_mask.shape[2])).amax(dim=2)
