"""Sums of table rows, the one operation that tables, linear critics and first layers on one-hot inputs have in common."""

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor


def summed_rows(
    table: Float[Tensor, "R h"], rows: Int64[Tensor, "*X n m"], weights: Float[Tensor, "n m"]
) -> Float[Tensor, "*X n h"]:
    """sum_j weights[i, j] table[rows[..., i, j]], differentiable in `table`. A weight of 0 leaves a row out."""
    width = rows.shape[-1]
    given = weights.expand(rows.shape).reshape(-1, width)
    summed = F.embedding_bag(rows.reshape(-1, width), table, mode="sum", per_sample_weights=given)
    return summed.view(*rows.shape[:-1], -1)
