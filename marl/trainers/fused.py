"""The compiled engine of `ScalableActorCritic`: the same state, many steps per call, equal up to rounding."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.optim import SGD, Optimizer

from marl.core.critic import Critic
from marl.core.environment import Environment
from marl.core.policy import Policy

if TYPE_CHECKING:
    from marl.trainers.scalable_actor_critic import ScalableActorCritic

CHUNK = 1024
"""Most steps of one call."""
ENTRIES = 2**16
"""Most entries that a hash table makes room for at a time."""


def obstacle(env: Environment, policy: Policy, critic: Critic, *optimizers: Optimizer) -> str | None:
    """Why a run cannot be compiled, or None."""
    for part in (env, policy):
        if part.fused() is None:
            return f"{type(part).__name__} has no compiled form"
    if critic.fused(0) is None:
        return f"{type(critic).__name__} has no compiled form"
    for optimizer in optimizers:
        plain = {"momentum", "dampening", "weight_decay", "nesterov", "maximize"}
        if type(optimizer) is not SGD or any(group[key] for group in optimizer.param_groups for key in plain):
            return f"{type(optimizer).__name__} is not plain SGD"
    return None


def advance(trainer: "ScalableActorCritic", steps: int) -> None:
    """Moves the trainer `steps` steps ahead, in calls of a bounded number of steps."""
    longest = max(1, min(CHUNK, ENTRIES // trainer.env.n))
    while steps:
        _call(trainer, min(steps, longest))
        steps -= min(steps, longest)


def _call(trainer: "ScalableActorCritic", steps: int) -> None:
    from marl.kernels import actor_critic as kernel  # numba takes its time: only where it is used

    env, critic, interval = trainer.env, trainer.critic, trainer.interval
    table, step, softmax = critic.fused(steps), env.fused(), trainer.policy.fused()
    assert table is not None and step is not None and softmax is not None  # noqa: PT018  # `obstacle` has seen to it
    replicas = trainer.replicas
    theta, legal = softmax.theta.numpy(), env.action_mask.numpy()
    p = np.zeros_like(theta)
    kernel.softmax(theta, legal, p)
    no_keys, no_maxima = np.empty((replicas, 0), dtype=np.int64), np.empty((replicas, 0), dtype=theta.dtype)
    layout = kernel.Layout(
        near=critic.neighborhood.index.numpy(),
        stride=table.keys.stride.numpy(),
        size=critic.neighborhood.size.numpy(),
        base=table.keys.base.numpy(),
        dummy=table.dummy,
        pair=env.pair_index.numpy(),
        legal=legal,
        last=(env.action_mask * torch.arange(legal.shape[2])).amax(dim=2).numpy(),
        exact=table.keys.exact,
        shift=65 - table.values.shape[1].bit_length(),
        block=table.block,
    )
    learned = kernel.Learned(
        theta=theta,
        p=p,
        values=table.values.numpy(),
        table=no_keys if table.table is None else table.table.numpy(),
        used=table.used,
        mu=critic.mu.numpy(),
        maxima=no_maxima if table.maxima is None else table.maxima.numpy(),
    )
    progress = kernel.Progress(
        key=trainer.noise.keys,
        s=trainer.s.numpy().copy(),
        a=trainer.a.numpy().copy(),
        reward=interval.reward.numpy(),
        loss=interval.loss.numpy(),
        finite=interval.finite.numpy(),
    )
    times = range(trainer.t, trainer.t + steps)
    alpha, eta = (np.array([size(t) for t in times]) for size in (trainer.alpha, trainer.eta))
    environment = step.step, step.ints, step.floats, env.num_uniforms
    kernel.advance(*environment, layout, learned, progress, trainer.t, interval.steps, alpha, eta)
    trainer.s, trainer.a = torch.from_numpy(progress.s), torch.from_numpy(progress.a)
    interval.steps += steps
    trainer.t += steps
