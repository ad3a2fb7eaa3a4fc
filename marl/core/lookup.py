"""Sums that many parts have in common are taken here: of table rows, and over neighbors.

Rows are summed by tables, linear critics and first layers on one-hot inputs alike.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor
from torch.autograd.function import once_differentiable


def summed_rows(
    table: Float[Tensor, "R h"], rows: Int64[Tensor, "*X n m"], weights: Float[Tensor, "n m"]
) -> Float[Tensor, "*X n h"]:
    """Returns sum_j weights[i, j] table[rows[..., i, j]], differentiable (once) in `table`. Weight 0 leaves a row out."""
    if table.shape[1] == 1 and torch.is_grad_enabled() and table.requires_grad:
        return (table.view(-1).index_select(0, rows.flatten()).view(rows.shape) * weights).sum(dim=-1, keepdim=True)
    summed: Tensor = _SummedRows.apply(table, rows, weights)
    return summed


def over_neighbors(ends: Int64[Tensor, "2 E"], x: Tensor) -> Tensor:
    """Returns the sum of x over the neighbors of every agent, edge by edge: a hub widens nobody else's row.

    ends: the two agents of every edge. Shapes: x [*X, n] -> [*X, n].
    """
    first, second = ends
    total = torch.zeros_like(x)
    return total.index_add_(-1, first, x[..., second]).index_add_(-1, second, x[..., first])


class _SummedRows(torch.autograd.Function):
    """An embedding bag is the fastest way forward, adding to rows several times as fast as its own way back."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(rows, weights)
        ctx.size = table.shape
        width = rows.shape[-1]
        given = weights.expand(rows.shape).reshape(-1, width)
        summed = F.embedding_bag(rows.reshape(-1, width), table, mode="sum", per_sample_weights=given)
        return summed.view(*rows.shape[:-1], table.shape[1])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        rows, weights = ctx.saved_tensors
        shares = gradient[..., None, :] * weights[..., None]
        back = gradient.new_zeros(ctx.size).index_add_(0, rows.flatten(), shares.reshape(-1, ctx.size[1]))
        return back, None, None
