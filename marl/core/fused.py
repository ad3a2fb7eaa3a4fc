"""What the compiled engine needs of each part of a run. A part that cannot be compiled answers None to `fused`."""

from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from marl.core.indexing import NeighborhoodKeys


class FusedStep(NamedTuple):
    """An environment's step: a compiled function of signature `marl.kernels.steps.STEP` and the numbers it works on."""

    step: Any
    ints: np.ndarray
    floats: np.ndarray


class FusedSoftmax(NamedTuple):
    """zeta_i(a|s) proportional to exp(theta_i[s, a]) over the legal a. Shapes: theta [B, n, S, A], changed in place."""

    theta: Tensor


class FusedTable(NamedTuple):
    """A truncated table, changed in place.

    Shapes: values [B, W]; table [B, W], the key of every slot, or None where a key is its slot; used [B] entries; dummy
    [n], the key that is never learned, or -1. maxima [B, W / block]: the largest |value| of every block, or None where
    nobody asks for it.
    """

    keys: NeighborhoodKeys
    dummy: np.ndarray
    values: Tensor
    table: Tensor | None
    used: np.ndarray
    maxima: Tensor | None
    block: int
