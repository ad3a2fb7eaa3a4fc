"""These are the forms of Gamma in line 8: a fixed number, or 1 / (1 + max_i ||Q_i||_inf) of a table."""

from typing import Any, NamedTuple

import numpy as np

from marl.kernels import forms
from marl.kernels.forms import implements


class Fixed(NamedTuple):
    """Gamma is the same at all times."""

    gamma: float


class Maxima(NamedTuple):
    """Keeps the largest |value| of every block of cells (or of values) in use.

    Shapes: largest [B, blocks]; block: its size.
    """

    largest: np.ndarray
    block: int


class MaximaRow(NamedTuple):
    """This is `Maxima` of one replica. Shapes: largest [blocks]."""

    largest: np.ndarray
    block: int


@implements(forms.of_replica, Fixed)
def _fixed_of_replica(form: Fixed, b: int) -> Fixed:
    return form


@implements(forms.of_replica, Maxima)
def _maxima_of_replica(form: Maxima, b: int) -> MaximaRow:
    return MaximaRow(form.largest[b], form.block)


@implements(forms.rescaled, Fixed)
def _fixed(scale: Fixed, ascent: float) -> float:
    return ascent * scale.gamma


@implements(forms.rescaled, MaximaRow)
def _by_largest(scale: MaximaRow, ascent: float) -> float:
    return ascent / (1.0 + scale.largest.max())


@implements(forms.learned, Fixed)
def _nothing_to_keep(scale: Fixed, critic: Any, slot: int, before: float) -> None:
    pass


@implements(forms.learned, MaximaRow, inline=False)
def _keep_maxima(scale: MaximaRow, critic: Any, slot: Any, before: float) -> None:
    """Scans a block anew only if its largest shrank."""
    values, spacing, largest = critic.values, critic.spacing, scale.largest
    block = scale.block * spacing
    k = slot // np.uint64(block)
    now = abs(values[slot])
    if now >= largest[k]:
        largest[k] = now
    elif abs(before) == largest[k]:
        first = np.int64(k) * block
        largest[k] = np.abs(values[first + spacing // 2 : first + block : spacing]).max()
