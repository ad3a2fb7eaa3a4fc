"""The batch engine of `RolloutActorCritic` takes rollouts and learns from them in compiled loops, equal up to rounding."""

from typing import Any

import numpy as np
import torch
from torch.optim import Adam, Optimizer

from marl.core.critic import Critic
from marl.core.environment import Environment, finite_environment
from marl.core.indexing import last_actions
from marl.core.policy import Policy
from marl.core.threads import spread
from marl.kernels.arguments import of_length
from marl.trainers import fusible
from marl.trainers.fused_engine import CALL, step_sizes
from marl.trainers.fusible import as_arguments, changed, check_done, form_of, not_declared, not_in_place
from marl.trainers.optimizers import adam_state, is_plain_sgd, not_plain_adam


def obstacle(env: Environment, policy: Policy, critic: Critic, actor: Optimizer, teacher: Optimizer) -> str | None:
    """Says why rollouts and updates with these parts cannot be compiled, or None."""
    if reason := fusible.obstacle(env):
        return reason
    for part in (policy, critic):
        if reason := not_declared(part, "linear") or changed(part) or not_in_place(part):
            return reason
        if part.dtype != torch.float64:
            return f"{type(part).__name__} is of another precision than float64"
    if not is_plain_sgd(teacher) or (reason := changed(teacher)):
        return f"the optimizer of the critic ({type(teacher).__name__}) is not plain SGD"
    if type(actor) is Adam:
        return not_plain_adam(actor)
    return changed(actor)


class BatchEngine:
    """This takes whole rollouts of one trainer, and what is learned from them, compiled.

    It holds no trainer, so that a trainer that is let go takes its parameters along at once.
    """

    def __init__(self, trainer: Any):
        from marl.kernels import batches, forms, rollout  # numba takes its time: only where it is used

        env = finite_environment(trainer.env, "a compiled update")
        self._kernel, self._loop_for, self._record, self._n = batches, forms.loop_for, rollout.Record, env.n
        self._actions = of_length(env.action_mask.shape[2])
        self._sizes = (
            env.num_states.numpy().copy(),
            env.pair_index.numpy().copy(),
            last_actions(env.action_mask).numpy(),
            trainer.critic.neighborhood.index.numpy().copy(),
            trainer.critic.neighborhood.size.numpy().copy(),
        )
        self._gradients = np.zeros(trainer.policy.linear().weight.shape)

    def advance(self, trainer: Any, steps: int) -> None:
        """Takes so many steps from the present pair on, in calls of a bounded number of them."""
        given = *as_arguments(form_of(trainer.env), trainer.env), self._actions
        most = max(1, CALL // self._n)
        for first in range(0, steps, most):
            self._call(trainer, given, min(most, steps - first))

    def _call(self, trainer: Any, given: tuple[Any, ...], steps: int) -> None:
        interval, buffer = trainer.interval, trainer.buffer
        rollout, filled, length = buffer.rollout, buffer.filled, buffer.length
        rollout.s[filled], rollout.a[filled] = trainer.s, trainer.a
        count, rest = divmod(filled + steps, length)
        lesson = self._lesson(trainer, trainer.t - filled, count)
        done = np.zeros(trainer.replicas, dtype=np.int64)
        record = self._record(rollout.s.numpy(), rollout.a.numpy(), rollout.r.numpy(), done)
        told = self._kernel.Told(interval.reward.numpy(), interval.loss.numpy(), interval.finite.numpy(), interval.steps)
        forms, span = self._forms(trainer), (trainer.noise.keys, trainer.t, filled, steps)
        try:
            with spread(trainer.replicas) as threaded:
                advance = self._kernel.advance if threaded else self._kernel.advance_in_turn
                self._loop_for(advance, *forms)(*given, *forms, *span, lesson, record, self._gradients, told)
        finally:  # Ctrl-C is heard when the loop returns: what it did is done
            if done.all():
                trainer.s, trainer.a = (x[rest or length].clone() for x in (rollout.s, rollout.a))
                trainer.t, buffer.filled = trainer.t + steps, rest
                interval.steps += steps
                interval.taught += count * length
                self._taken(trainer, count, lesson)
        check_done(trainer.env, done)

    def _forms(self, trainer: Any) -> tuple[Any, ...]:
        from marl.kernels.descent import Moments, Plain  # numba takes its time: only where it is used

        goal, optimizer = trainer.critic.objective.fused(), trainer.actor_optimizer
        actor: Any = Plain(trainer.replicas)
        if isinstance(optimizer, Adam):
            (group,), (theta,) = optimizer.param_groups, trainer.policy.parameters()
            state = adam_state(optimizer, theta)
            mean, square = (state[key].numpy().reshape(trainer.replicas, -1) for key in ("exp_avg", "exp_avg_sq"))
            beta, beta_square = group["betas"]
            actor = Moments(mean, square, beta, beta_square, group["eps"], int(state["step"]))
        return trainer.policy.linear(), trainer.critic.linear(), goal, actor

    def _lesson(self, trainer: Any, began: int, count: int) -> Any:
        length = trainer.buffer.length
        alpha, eta = (step_sizes(law, began, count * length)[::length].copy() for law in (trainer.alpha, trainer.eta))
        entropy = np.array([trainer.entropy_at(began + k * length) for k in range(count)])
        rate = np.minimum(alpha, 1.0) if trainer.reward_rate is None else np.full(count, trainer.reward_rate)
        reach = trainer.critic.objective.gamma * trainer.trace_decay
        return self._kernel.Lesson(*self._sizes, trainer.all_actions, reach, alpha, eta, entropy, rate)

    def _taken(self, trainer: Any, count: int, lesson: Any) -> None:
        """Tells the optimizers of so many steps more, as `apply` would."""
        if not count:
            return
        for optimizer, rates in (trainer.critic_optimizer, lesson.alpha), (trainer.actor_optimizer, lesson.eta):
            for group in optimizer.param_groups:
                group["lr"] = float(rates[-1])
        if isinstance(trainer.actor_optimizer, Adam):
            for state in trainer.actor_optimizer.state.values():
                state["step"] += count
