"""A contract kit says in one sentence what a part does not keep, with the place where it first differs."""

from typing import Any

import torch
from torch import Tensor

from marl.core.errors import ContractError


def demand(kept: bool, broken: str) -> None:
    """Demands that something is kept. Errors: `ContractError` with the sentence `broken`, unless it is."""
    if not kept:
        raise ContractError(broken)


def demand_equal(
    found: Tensor, expected: Any, broken: str, *, axes: tuple[str, ...] = ("replica", "agent"), tolerance: float = 0.0
) -> None:
    """Demands equal shapes and numbers, up to `tolerance` in proportion to numbers above 1.

    axes: the names of the last axes; those before them are steps. expected: a tensor of that shape, or one number for all.
    Errors: `ContractError` that says `broken`, the first place where the two differ, and both numbers.
    """
    found = found.detach()
    expected = torch.as_tensor(expected, device=found.device).detach()
    if expected.ndim and found.shape != expected.shape:
        raise ContractError(f"{broken}: the shape is {list(found.shape)}, not {list(expected.shape)}")
    near = (found - expected).abs() <= tolerance * expected.abs().clamp(min=1.0)
    wrong = (~(near | (found == expected))).nonzero()
    if len(wrong):
        place = tuple(wrong[0].tolist())
        names = (("step",) * len(place) + axes)[-len(place) :]
        where = ", ".join(f"{name} {k}" for name, k in zip(names, place, strict=True))
        wanted = expected.expand(found.shape)[place].item()
        raise ContractError(f"{broken}: at {where} it is {found[place].item()}, not {wanted}")


def precision(dtype: torch.dtype) -> float:
    """Says how far two ways to compute the same number of order 1 may be apart."""
    return 1e-10 if dtype == torch.float64 else 1e-4
