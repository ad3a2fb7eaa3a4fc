"""The largest |value| per row stays exact under point updates, without a scan of the row."""

import numpy as np
import torch
from torch import Tensor

from marl.core.shapes import Pairs, PerReplica


class BlockMaxima:
    """Keeps the largest |value| of every block of about sqrt(width) slots in use; an update rescans its own block.

    Shapes: values [B, stride], width [B], slots [B, n] as numbered by `Storage`. Widths and the stride have a power of two
    near their root in common.
    """

    def __init__(self, values: Tensor, width: np.ndarray):
        widest, block = int(width.max()), 1
        while block * block < widest and not (width % (2 * block)).any():
            block *= 2
        self.block = block
        self.maxima = torch.zeros(len(values), widest // block, dtype=values.dtype)
        for b, slots in enumerate(width.tolist()):
            self.maxima[b, : slots // block] = values[b, :slots].view(-1, block).abs().amax(dim=1)

    def update(self, values: Tensor, slots: Pairs) -> None:
        """Takes note that the entries in `slots` have changed."""
        real = slots[slots < values.numel()]
        b, k = real // values.shape[1], real % values.shape[1] // self.block
        self.maxima[b, k] = values.unflatten(1, (-1, self.block))[b, k].abs().amax(dim=1)

    def largest(self) -> PerReplica:
        """Returns max |value| of every row [B]."""
        return self.maxima.amax(dim=1)
