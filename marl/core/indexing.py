"""Pairs have numbers: the legal (s_i, a_i) of each agent, and the joint pairs z_{N_i^kappa} of its neighborhood."""

import copy

import torch
from jaxtyping import Int64
from torch import Tensor, nn

from marl.core.network import Neighborhood
from marl.core.shapes import ActionMask, Pairs, Whole
from marl.core.snapshot import SnapshotModule
from marl.core.whole import whole

_EXACT_LIMIT = 2.0**62
_FINGERPRINT_MASK = 2**63 - 1


class NeighborhoodModule(SnapshotModule):
    """This module holds the neighborhoods N_i^kappa of its agents, which move with it to another device."""

    _neighborhood_index: Tensor
    _neighborhood_mask: Tensor
    _neighborhood_size: Tensor

    @property
    def neighborhood(self) -> Neighborhood:
        """Returns (index, mask, size) on the device of the module."""
        return Neighborhood(self._neighborhood_index, self._neighborhood_mask, self._neighborhood_size)

    @neighborhood.setter
    def neighborhood(self, given: Neighborhood) -> None:
        for name, part in given._asdict().items():
            self.register_buffer(f"_neighborhood_{name}", part, persistent=False)


class PairIndex(nn.Module):
    """This module numbers the legal pairs of agent i compactly, 0..|Z_i|-1, states first.

    Shapes: `table` [n, S, A] (-1 where the pair is illegal or padding), `num_pairs` [n].
    """

    num_pairs: Int64[Tensor, "n"]
    table: Int64[Tensor, "n S A"]
    _offset: Tensor

    def __init__(self, action_mask: ActionMask):
        super().__init__()
        n, states, actions = action_mask.shape
        flat = action_mask.reshape(n, -1)
        table = torch.where(flat, flat.cumsum(dim=1) - 1, -1).reshape(action_mask.shape)
        self.register_buffer("num_pairs", flat.sum(dim=1), persistent=False)
        self.register_buffer("table", table, persistent=False)
        self.register_buffer("_offset", torch.arange(n) * (states * actions), persistent=False)
        self._actions = actions

    def shared(self) -> "PairIndex":
        """Gives another one on the same memory, for a module that may move to another device."""
        return copy.deepcopy(self, {id(table): table for table in self.buffers()})

    def pairs(self, s: Whole, a: Whole) -> Pairs:
        """Looks up z_i, the number of (s_i, a_i); -1 if illegal. Shapes: s, a, result [*K, B, n]."""
        s, a = whole("states", s), whole("actions", a)
        where = s.device
        return torch.take(self.table.to(where), self._offset.to(where) + s * self._actions + a)

    def choices(self, s: Whole) -> Int64[Tensor, "*K B n A"]:
        """Looks up the number of (s_i, a) for every action a; -1 where illegal. Shapes: s [*K, B, n] -> [*K, B, n, A]."""
        s = whole("states", s)  # numbers of 8 bits would be a mask
        return self.table.to(s.device)[torch.arange(len(self.table), device=s.device), s]


class NeighborhoodKeys:
    """This class gives one integer to (agent i, z_{N_i^kappa}), never negative.

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
        """Gives the keys of the joint pairs that z is made of. Shapes: z, result [*K, B, n]."""
        return self.of(z[..., self.index])

    def of(self, joint: Int64[Tensor, "*B n m"]) -> Int64[Tensor, "*B n"]:
        """Gives the keys of joint pairs written out, neighbor by neighbor in the order of `Neighborhood.index`."""
        key = (joint * self.stride).sum(dim=-1) + self.base
        return key if self.exact else key & _FINGERPRINT_MASK


def last_actions(action_mask: ActionMask) -> Int64[Tensor, "n S"]:
    """Returns the last legal action of i in state s, 0 where there is none. Shapes: action_mask [n, S, A] -> [n, S]."""
    return (action_mask * torch.arange(action_mask.shape[2])).amax(dim=2)
