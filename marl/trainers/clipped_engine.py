"""The clipped steps of PPO are compiled where policy and critic are networks of their own for every agent."""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from marl.core.critic import Critic
from marl.core.policy import Policy
from marl.core.threads import spread
from marl.kernels.arguments import of_length
from marl.trainers.fusible import changed, not_declared, not_in_place
from marl.trainers.optimizers import adam_state, not_plain_adam


def obstacle(policy: Policy, critic: Critic, *optimizers: Optimizer) -> str | None:
    """Says why the steps of these cannot be compiled, or None."""
    for part in (policy, critic):
        if reason := not_declared(part, "networks") or changed(part) or not_in_place(part):
            return reason
    return next((reason for made in optimizers if (reason := not_plain_adam(made))), None)


def improve(policy: tuple[Any, Optimizer, float], critic: tuple[Any, Optimizer, float], taught: list[Any]) -> Tensor:
    """Takes the steps of an update; returns the sums of losses [B], which are finite iff all is well.

    policy, critic: the part, its optimizer and its learning rate. taught: the fields of `Taught` in
    `marl.kernels.clipped_steps`.
    """
    from marl.kernels import clipped_steps as kernel  # numba takes its time: only where it is used

    lesson = kernel.Taught(*taught)
    steps, losses = lesson.order.shape[0] * len(lesson.ends), np.empty(lesson.s.shape[1:])
    learners = [_learner(*part, steps) for part in (policy, critic)]
    widths = [of_length(learner.weight.shape[2]) for learner in learners]
    with spread(losses.size) as threaded:
        (kernel.improve if threaded else kernel.improve_in_turn)(*widths, *learners, lesson, losses)
    return torch.from_numpy(losses.sum(axis=1))


def _learner(part: Any, optimizer: Optimizer, rate: float, steps: int) -> Any:
    """Lays networks and what the optimizer keeps of them out, and tells the optimizer of so many steps more."""
    from marl.kernels.adam import Learner  # numba takes its time: only where it is used

    networks, (group,) = part.networks(), optimizer.param_groups
    kept = [adam_state(optimizer, x) for x in (part.embedding, part.weight, part.bias)]
    taken = int(kept[0]["step"])
    for state in kept:
        state["step"] += steps
    shapes = [x.shape for x in networks[2:]]
    means, squares = (
        [state[key].numpy().reshape(shape) for state, shape in zip(kept, shapes, strict=True)]
        for key in ("exp_avg", "exp_avg_sq")
    )
    return Learner._make([*networks, *means, *squares, rate, *group["betas"], group["eps"], taken])
