"""What the compiled engine needs of each part of a run. A part that cannot be compiled answers None to `fused`."""

import contextlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from marl.core.errors import ConfigError, ContractError
from marl.core.indexing import NeighborhoodKeys
from marl.core.shapes import ActionMask

UNROLLED = 16
"""Up to this many actions a kernel is compiled for their very number."""


class FusedStep(NamedTuple):
    """An environment's step: a compiled function of signature `marl.kernels.steps.STEP` and the numbers it works on.

    ints [any] int64 and floats [any] float64 are read only; work: how many integers it needs to write on.
    """

    step: Any
    ints: np.ndarray
    floats: np.ndarray
    work: int = 0


class FusedSoftmax(NamedTuple):
    """zeta_i(a|s) proportional to exp(theta_i[s, a]) over the legal a. Shapes: theta [B, n, S, A], changed in place."""

    theta: Tensor


class FusedNeighborhoodSoftmax(NamedTuple):
    """zeta_i(a|s) proportional to exp(sum_j theta_i[j, s_i, s_near(i,j), a]) over the legal a; j < size_i.

    Shapes: near [n, m], size [n], theta [B, n, m, S, S, A].
    """

    near: Tensor
    size: Tensor
    theta: Tensor


class FusedTable(NamedTuple):
    """A truncated table, changed in place. V words per replica, of which a value is one.

    Shapes: values [B, V]; table [B, 2 W], the same memory as cells of key and value (see `marl.kernels.hash_table`), or
    [B, 0] where a key is the place of its value; width [B]: how many cells (or else values) of a row are in use; used [B]
    entries; dummy [n], the key that is never learned, or -1. maxima [B, blocks]: the largest |value| of every block of the
    widest row in use, or None where nobody asks for it.
    """

    keys: NeighborhoodKeys
    dummy: np.ndarray
    values: np.ndarray
    table: np.ndarray
    width: np.ndarray
    used: np.ndarray
    maxima: Tensor | None


@contextlib.contextmanager
def spread(replicas: int) -> Iterator[bool]:
    """Around a compiled loop over replicas: whether to use threads; torch keeps its own number of them.

    (Both may use one OpenMP library, and then the first compiled loop would give torch all cores, which makes small tensors
    several times slower.)
    """
    from marl.kernels.workers import no_more_than  # numba takes its time: only where it is used

    threads = torch.get_num_threads()
    try:
        with no_more_than(replicas) as threaded:
            yield threaded
    finally:
        torch.set_num_threads(threads)


def arguments(env: Any) -> tuple[Any, Any]:
    """(step, numbers) of an environment that has a compiled step, as kernels take them."""
    from marl.kernels.steps import Numbers, StepArgument  # numba takes its time: only where it is used

    form = env.fused()
    return StepArgument(form.step), Numbers(form.ints, form.floats, form.work, env.num_uniforms)


def check_states(env: object, done: np.ndarray) -> None:
    """Errors: `ContractError` if a kernel has found a next state that does not exist, which it says by -1 in done [B]."""
    if done.min() < 0:
        raise ContractError(
            f"the compiled step of {type(env).__name__} gave a state that does not exist; "
            "hold it against the environment with marl.check_fused_step"
        )


def action_count(count: int) -> Any:
    """Something whose length is `count`: a tuple, which a kernel is compiled for, or an array if there are many."""
    return (0,) * count if count <= UNROLLED else np.empty(count)


def last_actions(action_mask: ActionMask) -> Tensor:
    """The last legal action in every state, 0 where there is none. Shapes: action_mask [n, S, A] -> [n S]."""
    return (action_mask * torch.arange(action_mask.shape[2])).amax(dim=2).flatten()


def compiled_step(env: Any) -> FusedStep | None:
    """Gives the compiled step of an environment whose very class defines `fused`; None for any other."""
    return env.fused() if "fused" in vars(type(env)) else None


def refusal(part: object, form: object) -> str | None:
    """Why `part`, whose `fused` gave `form`, cannot be compiled, or None.

    A class that changes a method of the one that defines `fused` needs a `fused` of its own (__init__ hands on arguments).
    Errors: `ConfigError` if a step is not compiled with the signature `marl.kernels.steps.STEP`.
    """
    name, classes = type(part).__name__, type(part).__mro__
    if form is None:
        return f"{name} has no compiled form"
    owner = next(k for k, cls in enumerate(classes) if "fused" in vars(cls))
    own = {method for cls in classes[:owner] for method, value in vars(cls).items() if callable(value)}
    changed = sorted(method for method in own - {"__init__"} if hasattr(classes[owner], method))
    if changed:
        return f"{name} changes {', '.join(changed)} and has no compiled form of that"
    if isinstance(form, FusedStep):
        from marl.kernels.steps import STEP  # numba takes its time: only where it is used

        for word, array, kind in ("ints", form.ints, np.int64), ("floats", form.floats, np.float64):
            if not isinstance(array, np.ndarray) or array.dtype != kind or array.ndim != 1 or not array.flags.carray:
                raise ConfigError(f"{word} of the compiled step of {name} must be a plain 1-d array of {kind.__name__}")

        if [given.args for given in getattr(form.step, "nopython_signatures", [])] != [STEP.args]:
            raise ConfigError(
                f"the compiled step of {name} must be decorated with @njit(STEP, cache=True), marl.kernels.steps.STEP"
            )
    return None
