"""The exact largest |value| per row under point updates, without a scan of the row."""

from torch import Tensor

from marl.core.shapes import Pairs, PerReplica


class BlockMaxima:
    """Keeps the largest |value| of every block of about sqrt(width) slots; an update rescans its own block.

    Shapes: values [B, width] with width a multiple of a power of two near its root, slots [B, n] as numbered by `Storage`.
    """

    def __init__(self, values: Tensor):
        width = values.shape[1]
        block = 1
        while block * block < width and width % (2 * block) == 0:
            block *= 2
        self.block, self._blocks = block, width // block
        self.maxima = values.view(-1, self._blocks, block).abs().amax(dim=2)

    def update(self, values: Tensor, slots: Pairs) -> None:
        """The entries in `slots` have changed."""
        touched = (slots // self.block).flatten()
        touched = touched[touched < self.maxima.numel()]
        fresh = values.view(-1, self.block)[touched].abs().amax(dim=1)
        self.maxima.view(-1)[touched] = fresh

    def largest(self) -> PerReplica:
        """max |value| of every row [B]."""
        return self.maxima.amax(dim=1)
