"""Sums over the other members of a neighborhood are taken without being laid out."""

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from marl.core.network import Neighborhood


class OthersSum(nn.Module):
    """This module computes y_i = sum_{j in N_i^kappa, j != i} x_j, differentiable in x.

    One gather per position in the neighborhood, so memory does not grow with its width. count [n]: how many others.
    Shapes: x [*K, B, n, h] -> [*K, B, n, h].
    """

    count: Tensor
    _positions: Tensor

    def __init__(self, neighborhood: Neighborhood):
        super().__init__()
        index, mask, size = neighborhood
        n, width = index.shape
        own = index == torch.arange(n)[:, None]  # padding repeats i
        first = (mask & ~own).byte().argsort(dim=1, descending=True, stable=True)
        padded = torch.where(own, n, index).gather(1, first)[:, : width - 1]  # row n is zero
        self.register_buffer("count", size - 1, persistent=False)
        self.register_buffer("_positions", padded.T.contiguous(), persistent=False)

    def forward(self, x: Float[Tensor, "*K B n h"]) -> Float[Tensor, "*K B n h"]:
        """Sums up what the others of every agent have."""
        return _Sum.apply(x, self._positions.unbind())


class _Sum(torch.autograd.Function):
    """j is among the others of i iff i is among those of j, so the sum is its own transpose."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, positions: tuple[Tensor, ...]) -> Tensor:
        ctx.positions = positions
        total = torch.zeros_like(x)
        with_zero = torch.cat([x, x.new_zeros(*x.shape[:-2], 1, x.shape[-1])], dim=-2)
        for other in positions:
            total += with_zero.index_select(-2, other)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _Sum.apply(gradients[0], ctx.positions), None


def positions(neighborhood: Neighborhood) -> Int64[Tensor, "n m"]:
    """Finds where i stands in the row of its j-th neighbor: index[index[i, j], positions[i, j]] = i (0 on padding)."""
    index, mask, size = neighborhood
    n = len(index)
    center = torch.arange(n)[:, None].expand_as(index)
    codes = center[mask] * n + index[mask]  # increasing
    first = size.cumsum(dim=0) - size
    found = torch.searchsorted(codes, index[mask] * n + center[mask]) - first[index[mask]]
    return torch.zeros_like(index).masked_scatter(mask, found)
