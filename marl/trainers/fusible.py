"""This module says which parts of a run can be fused, and what they hand to the compiled loops.

Exactly the class that defines `fused()` is compiled: it says so of itself, and a class that derives from it may change
anything, so it has to say so, too. What is changed on an object afterwards is looked for before every call.
"""

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from marl.core.environment import Environment
from marl.core.errors import ConfigError, ContractError
from marl.kernels.arguments import NO_ROOM, FusedStep
from marl.trainers.optimizers import is_plain_sgd


def obstacle(*parts: Any) -> str | None:
    """Says why the first of `parts` that cannot be fused cannot, or None. Errors: `ConfigError`, see `form_of`."""
    for part in parts:
        if reason := not_declared(part) or changed(part):
            return reason
        if form_of(part) is None:
            return f"{type(part).__name__} {'is frozen' if isinstance(part, nn.Module) else 'has no compiled form'}"
    return None


def form_of(part: Any) -> Any:
    """Returns what `part`, which defines `fused`, hands over now. Errors: `ConfigError` for a step of another signature."""
    form = part.fused()
    if isinstance(form, FusedStep):
        _check_step(type(part).__name__, form)
    return form


def as_arguments(form: FusedStep, env: Environment) -> tuple[Any, Any]:
    """Returns (step, numbers), the step of an environment as kernels take it."""
    from marl.kernels.steps import Numbers  # numba takes its time: only where it is used

    return _argument(form.step), Numbers(form.ints, form.floats, form.work, env.num_uniforms)


def check_done(env: Environment, done: np.ndarray) -> None:
    """Checks what a kernel says in done [B]. Errors: `ContractError` if it was given a state that does not exist."""
    if done.min() >= 0:
        return
    if (done == NO_ROOM).any():
        raise AssertionError("the table of the critic was full: entries may be lost; please report this")
    raise ContractError(
        f"the compiled step of {type(env).__name__} gave a state that does not exist; "
        "hold it against the environment with marl.testing.check_fused_step"
    )


def not_declared(part: object, form: str = "fused") -> str | None:
    """Says why the class of `part` is not one that can be fused, or None. form: the method by which a class says so."""
    kind = type(part)
    if form in vars(kind):
        return None
    inherited = getattr(kind, form, None)
    if inherited is None:
        return f"{kind.__name__} has no compiled form"
    parent = inherited.__qualname__.partition(".")[0]
    return (
        f"{kind.__name__} does not say whether the compiled form of {parent} is its own, too "
        f"(if it changes no number, write `{form} = {parent}.{form}` into it)"
    )


def changed(part: Any) -> str | None:
    """Says what was done to the object that only the autograd engine would notice, or None."""
    kind: Any = type(part)
    name, own = kind.__name__, vars(part)
    if replaced := sorted(key for key in _methods(kind).intersection(own) if callable(own[key])):
        return f"{', '.join(replaced)} of this {name} was replaced"
    if isinstance(part, nn.Module) and _hooked(part.parameters()):
        return f"a parameter of this {name} has hooks"
    if isinstance(part, Optimizer):
        if not is_plain_sgd(part):
            return f"{name}{' with options' if isinstance(part, SGD) else ''} is not plain SGD"
        if part._optimizer_step_pre_hooks or part._optimizer_step_post_hooks:
            return f"an optimizer ({name}) has hooks"
    return None


def not_in_place(part: nn.Module) -> str | None:
    """Says why compiled loops cannot learn the parameters of `part` where they are, or None."""
    if all(x.requires_grad and x.device.type == "cpu" and x.is_contiguous() for x in part.parameters()):
        return None
    return f"{type(part).__name__} is frozen, on another device than the processor, or not laid out in order"


@functools.cache
def _methods(kind: type) -> frozenset[str]:
    """Names what an object of this class can be asked to do."""
    return frozenset(key for key in dir(kind) if callable(getattr(kind, key, None)))


def _hooked(parameters: Iterable[torch.Tensor]) -> bool:
    return any(x._backward_hooks or getattr(x, "_post_accumulate_grad_hooks", None) for x in parameters)


def _check_step(name: str, form: FusedStep) -> None:
    for word, array, kind in ("ints", form.ints, np.int64), ("floats", form.floats, np.float64):
        if not isinstance(array, np.ndarray) or array.dtype != kind or array.ndim != 1 or not array.flags.carray:
            raise ConfigError(f"{word} of the compiled step of {name} must be a plain 1-d array of {kind.__name__}")
    if not _has_signature(form.step):
        raise ConfigError(
            f"the compiled step of {name} must be decorated with @cached_njit(STEP), see marl.kernels.compiled and steps"
        )


@functools.lru_cache(maxsize=64)
def _has_signature(step: Any) -> bool:
    from marl.kernels.steps import STEP  # numba takes its time: only where it is used

    return [given.args for given in getattr(step, "nopython_signatures", [])] == [STEP.args]


@functools.lru_cache(maxsize=64)
def _argument(step: Any) -> Any:
    from marl.kernels.steps import StepArgument  # numba takes its time: only where it is used

    return StepArgument(step)
