"""Optimizers are made, asked and stepped here."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch.optim import SGD, Adam, Optimizer

from marl.core.errors import ConfigError

_PLAIN_ADAM = {"weight_decay": 0, "amsgrad": False, "maximize": False, "capturable": False, "differentiable": False}


def make(part: str, maker: Any, parameters: Sequence[torch.nn.Parameter], step_size: float) -> Optimizer:
    """Calls maker(parameters, lr=step_size). Errors: `ConfigError`, if that is no optimizer that can be used."""
    key = f"trainer.{part}_optimizer"
    if not callable(maker):
        raise ConfigError(f"{key} needs a _target_ and _partial_: true, got {maker!r}")
    kind = maker.func if isinstance(maker, partial) else maker
    if isinstance(kind, type) and not issubclass(kind, Optimizer):
        raise ConfigError(f"{key} must make a torch optimizer, got {kind.__name__}")
    if "lr" in getattr(maker, "keywords", {}):
        raise ConfigError(f"{key}.lr is set by {part}_scheduler in every step; remove it")
    try:
        optimizer = maker(parameters, lr=step_size)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{key}: {error}") from None
    if not isinstance(optimizer, Optimizer) or isinstance(optimizer, torch.optim.LBFGS):
        raise ConfigError(f"{key} must make a torch optimizer that steps without a closure, got {type(optimizer).__name__}")
    return optimizer


def makes_plain_sgd(maker: Any) -> bool:
    """Says whether `maker` is SGD itself, without options."""
    return maker is SGD or (isinstance(maker, partial) and maker.func is SGD and not maker.args and not maker.keywords)


def is_plain_sgd(optimizer: Optimizer) -> bool:
    """Says whether a step of it is x <- x - lr gradient, and no more."""
    options = ("momentum", "dampening", "weight_decay", "nesterov", "maximize")
    return type(optimizer) is SGD and not any(group[key] for group in optimizer.param_groups for key in options)


def not_plain_adam(optimizer: Optimizer) -> str | None:
    """Says why a step of it is not what compiled updates take for one of Adam, or None."""
    name, (one, *more) = type(optimizer).__name__, optimizer.param_groups
    if type(optimizer) is not Adam or more or any(one[key] != value for key, value in _PLAIN_ADAM.items()):
        return f"{name}, as it is set, is not plain Adam"
    if optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks:
        return f"an optimizer ({name}) has hooks"
    return None


def adam_state(optimizer: Optimizer, parameter: torch.Tensor) -> Any:
    """Returns what Adam keeps of a parameter, as it starts it at the first step."""
    state = optimizer.state[parameter]
    if not state:
        state["step"] = torch.tensor(0.0)
        state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
    return state


def apply(optimizer: Optimizer, step_size: float) -> None:
    """Takes one step of that size."""
    for group in optimizer.param_groups:
        group["lr"] = step_size
    optimizer.step()
