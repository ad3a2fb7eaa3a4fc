"""Contract kits check parameters here: what depends on them, what a gradient step does, replicas beside solo runs."""

import copy
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from marl.core.critic import Critic, Transition
from marl.testing.demands import demand, demand_equal, precision

REPLICAS = 3
SEED = 7
SIZE = 0.1
"""Step size of gradient steps."""

Part = TypeVar("Part", bound=nn.Module)


def shaken(part: Part, seed: int = 0) -> Part:
    """Gives the part random parameters: those that start at zero hide what they multiply."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
    return part


def climb(part: nn.Module, value: Tensor, size: float) -> None:
    """Takes one plain gradient step of that size on the sum of `value`, if anything is to be learned."""
    learned = [parameter for parameter in part.parameters() if parameter.requires_grad]
    if not learned or not value.requires_grad:
        return
    gradients = torch.autograd.grad(value.sum(), learned, allow_unused=True)
    with torch.no_grad():
        for parameter, gradient in zip(learned, gradients, strict=True):
            if gradient is not None:
                parameter.add_(gradient, alpha=size)


def learn(critic: Critic, step: Transition) -> None:
    """Takes line 6 as a trainer does, with a table that keeps its books."""
    if critic.table is not None:
        critic.table.visit(step.s, step.a)
        critic.table.visit(step.next_s, step.next_a)
    climb(critic, critic.loss(critic.q(step.s, step.a), step), -SIZE)
    if critic.table is not None:
        critic.table.updated(step.s, step.a)


def check_derivative(part: nn.Module, what: str, function: Callable[[], Tensor], dtype: torch.dtype) -> None:
    """Demands that `function()`, a number, has the derivative by the parameters that finite differences show.

    Where the derivative by a single entry is 0 in a sparse gradient, as of a table, that entry is left alone.
    """
    learned = [parameter for parameter in part.parameters() if parameter.requires_grad and parameter.numel()]
    if not learned:
        return
    value = function()
    demand(value.requires_grad, f"{what} is not differentiable in the parameters")
    gradients = torch.autograd.grad(value, learned, allow_unused=True)
    draw, along, by = torch.Generator().manual_seed(5), 0.0, []
    for parameter, gradient in zip(learned, gradients, strict=True):
        direction = torch.randn(parameter.shape, generator=draw, dtype=torch.float64).to(parameter)
        if gradient is not None and gradient.is_sparse:
            direction *= gradient.to_dense() != 0
        along += 0.0 if gradient is None else float((gradient.to_dense() * direction).sum())
        by.append(direction)
    small = torch.finfo(dtype).eps ** (1 / 3)
    ends = []
    for shift in (small, -2.0 * small, small):
        with torch.no_grad():
            for parameter, direction in zip(learned, by, strict=True):
                parameter.add_(direction, alpha=shift)
            ends.append(function())
    found, seen = torch.tensor([along], dtype=torch.float64), (ends[0] - ends[1]).double().view(1) / (2.0 * small)
    broken = f"the derivative of {what} by the parameters is not that of finite differences"
    demand_equal(found, seen, broken, axes=("direction",), tolerance=1000.0 * small**2)


def check_saved(part: Part, other: Part, tell: Callable[[Part], Tensor]) -> None:
    """Demands that `other`, made with another seed, tells the same once it has loaded the `state_dict` of `part`."""
    other.load_state_dict(copy.deepcopy(part.state_dict()))
    demand_equal(tell(other), tell(part), f"{type(part).__name__} is another one once its state_dict was loaded again")


def check_replicas(
    make: Callable[..., Any],
    tell: Callable[[Any, slice], Tensor],
    teach: Callable[[Any, int, slice], None],
    *,
    parameters: bool,
) -> None:
    """Demands that replica b is the part of seed + b alone: at the start, and after every one of three steps.

    tell: what a part says of the replicas in a slice of the inputs, those first. teach: learns from step k, of those
    replicas. parameters: whether to demand the same of each of them, their first axis being the replicas.
    """
    together, alone = make(replicas=REPLICAS, seed=SEED), [make(replicas=1, seed=SEED + b) for b in range(REPLICAS)]
    name, tolerance = type(together).__name__, precision(together.dtype)

    def demand_same(found: Tensor, solo: Tensor, broken: str) -> None:
        demand_equal(found.flatten(), solo.flatten(), broken, axes=("entry",), tolerance=tolerance)

    for k in range(4):
        when = f"after {k} steps" if k else "at the start"
        answers = tell(together, slice(0, REPLICAS))
        for b, solo in enumerate(alone):
            broken = f"replica {b} of {name} is {when} not the {name} of seed + {b} alone"
            demand_same(answers[b], tell(solo, slice(b, b + 1)), broken)
            teach(solo, k, slice(b, b + 1))
        teach(together, k, slice(0, REPLICAS))
    for key, parameter in together.named_parameters() if parameters else ():
        shape = list(parameter.shape)
        broken = f"the parameter {key} of {name} is {shape}; its first axis must be the {REPLICAS} replicas"
        demand(shape[:1] == [REPLICAS], broken)
        for b, solo in enumerate(alone):
            broken = f"after 4 steps the parameter {key} of replica {b} of {name} is not that of seed + {b} alone"
            demand_same(parameter[b], solo.get_parameter(key), broken)
