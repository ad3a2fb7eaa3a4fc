"""Rollouts are steps under a policy that stays as it is: compiled where it and the environment can be, eager where not."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from marl.core.environment import Environment, FiniteEnvironment, finite_environment
from marl.core.indexing import last_actions
from marl.core.noise import Noise, Purpose
from marl.core.policy import Policy
from marl.core.shapes import Rewards
from marl.core.threads import spread
from marl.kernels.arguments import FusedStep, of_length
from marl.trainers.fusible import as_arguments, changed, check_done, form_of, not_declared

CHUNK = 4096
"""Most steps of one call."""
MAX_TABLE = 2**25
"""Largest replicas x agents x states x actions whose probabilities are laid out as a table."""
_BYTES = 2**27
"""Most that one call should write down."""


class Rollout(NamedTuple):
    """These are K consecutive steps z(t) .. z(t + K). Shapes: s, a [K + 1, B, n, ...], r [K, B, n]."""

    s: Tensor
    a: Tensor
    r: Rewards


class Collector:
    """This draws rollouts of one environment and one policy; the numbers are the same whether it is compiled or not.

    It is compiled where the environment has a compiled step, and the policy draws actions as every policy does and either
    gives its probabilities as a table of own states, or says how they follow from those of its neighbors (`sampled()`).
    copies: trajectories of every replica; row c * B + b of states and actions [copies * B, n] is copy c of replica b.
    frozen: whether both stay as they are between calls, so that what loops read of them is laid out once.
    longest: the most steps to ask for at a time.
    """

    def __init__(self, env: Environment, policy: Policy, copies: int = 1, *, frozen: bool = False):
        self.env, self.policy, self.frozen = env, policy, frozen
        self._kept: tuple[Any, ...] | None = None
        self.longest = max(1, min(CHUNK, _BYTES // (24 * copies * policy.replicas * env.n)))

    @torch.no_grad()
    def __call__(self, noise: Noise, s: Tensor, a: Tensor, t: int, steps: int) -> Rollout:
        """Takes the steps from t on, where agents are in s [copies * B, n, ...] and have drawn a, alike, already.

        Errors: `ContractError` if the compiled step gave a state that does not exist.
        """
        record = Rollout(
            s=s.new_empty(steps + 1, *s.shape),
            a=a.new_empty(steps + 1, *a.shape),
            r=torch.empty(steps, *s.shape[:2], dtype=torch.float64),
        )
        record.s[0], record.a[0] = s, a
        laid_out = self._kept or self._lay_out()
        if self.frozen:
            self._kept = laid_out
        if laid_out:
            self._compiled(laid_out, noise, t, record)
        else:
            self._eager(noise, t, record)
        return record

    def compiled_step(self) -> FusedStep | None:
        """Returns the step of the next rollout, if it will be compiled, with environment and policy as they are now."""
        env, policy = self.env, self.policy
        if (
            not isinstance(env, FiniteEnvironment)
            or not_declared(env)
            or changed(env)
            or changed(policy)
            or type(policy).sample is not Policy.sample
        ):
            return None
        small = policy.replicas * env.action_mask.numel() <= MAX_TABLE
        return form_of(env) if (small if policy.localized else "sampled" in vars(type(policy))) else None

    def _eager(self, noise: Noise, t: int, record: Rollout) -> None:
        for k in range(len(record.r)):
            u = noise(t + k + 1)
            record.s[k + 1], record.r[k] = self.env.step(record.s[k], record.a[k], u[..., :-1])
            record.a[k + 1] = drawn(self.policy, record.s[k + 1], u[..., -1])

    def _lay_out(self) -> tuple[Any, ...]:
        """Returns what compiled rollouts read of environment and policy as they are now; nothing if eager ones follow."""
        step = self.compiled_step()
        if step is None:
            return ()
        from marl.kernels.rollout import Sizes  # numba takes its time: only where it is used

        env = finite_environment(self.env, "a compiled rollout")
        sizes = Sizes(env.num_states.numpy(), last_actions(env.action_mask).numpy(), self.policy.replicas)
        return *as_arguments(step, env), of_length(env.action_mask.shape[2]), sizes, self._form()

    def _compiled(self, laid_out: tuple[Any, ...], noise: Noise, t: int, record: Rollout) -> None:
        from marl.kernels import rollout as kernel  # numba takes its time: only where it is used
        from marl.kernels.forms import loop_for

        *given, form = laid_out
        done = np.zeros(len(noise.keys), dtype=np.int64)
        written = kernel.Record(record.s.numpy(), record.a.numpy(), record.r.numpy(), done)
        with spread(len(noise.keys)) as threaded:
            loop = loop_for(kernel.rollout if threaded else kernel.rollout_in_turn, form)
            loop(*given, form, noise.keys, t, written)
        check_done(self.env, done)

    def _form(self) -> Any:
        """Returns the policy as compiled loops draw from it: its own form, or probabilities beside logits never read."""
        if not self.policy.localized:
            policy: Any = self.policy
            return policy.sampled()
        from marl.kernels.softmax_table import SoftmaxRows  # numba takes its time: only where it is used

        table = self.policy.probability_table().cpu()
        laid_out = torch.zeros(*table.shape[:-1], 2, table.shape[-1], dtype=table.dtype)
        laid_out[..., 1, :] = table
        return SoftmaxRows(laid_out.flatten(1).numpy())


def drawn(policy: Policy, s: Tensor, u: Tensor) -> Tensor:
    """Draws the actions of any number of copies of every replica. Shapes: s, u [copies * B, n, ...] -> those of s."""
    if len(s) == policy.replicas:
        return policy.sample(s, u)
    return policy.sample(*(x.unflatten(0, (-1, policy.replicas)) for x in (s, u))).flatten(0, 1)


def from_a_fresh_start(env: Environment, policy: Policy, steps: int, seed: int) -> Iterator[Rollout]:
    """Takes so many steps of a frozen policy, in rollouts that follow one another.

    Replica b has the noise of the evaluation stream of seed + b. That they belong together has been checked.
    """
    noise = Noise(seed, policy.replicas, env.n, env.num_uniforms + 1, Purpose.EVALUATION)
    u = noise(0)
    s = env.reset(u[..., :-1])
    a = policy.sample(s, u[..., -1])
    collect, t = Collector(env, policy, frozen=True), 0
    while t < steps:
        rolled = collect(noise, s, a, t, min(collect.longest, steps - t))
        yield rolled
        s, a, t = rolled.s[-1], rolled.a[-1], t + len(rolled.r)
