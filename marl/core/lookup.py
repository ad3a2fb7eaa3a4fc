"""Sums of table rows, the one operation that tables, linear critics and first layers on one-hot inputs have in common."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor


def summed_rows(
    table: Float[Tensor, "R h"], rows: Int64[Tensor, "*X n m"], weights: Float[Tensor, "n m"]
) -> Float[Tensor, "*X n h"]:
    """sum_j weights[i, j] table[rows[..., i, j]], differentiable in `table`. A weight of 0 leaves a row out.

    (An embedding bag is the fastest way forward; the gradient of an index_select is up to seven times faster than its.)
    """
    width, features = rows.shape[-1], table.shape[1]
    if torch.is_grad_enabled() and table.requires_grad:
        if features == 1:
            return (table.view(-1).index_select(0, rows.flatten()).view(rows.shape) * weights).sum(dim=-1, keepdim=True)
        picked = table.index_select(0, rows.flatten()).view(*rows.shape, features)
        return (picked * weights[..., None]).sum(dim=-2)
    given = weights.expand(rows.shape).reshape(-1, width)
    summed = F.embedding_bag(rows.reshape(-1, width), table, mode="sum", per_sample_weights=given)
    return summed.view(*rows.shape[:-1], features)
