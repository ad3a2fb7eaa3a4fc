"""Steps of an environment under a policy that stays as it is: compiled where both can be, eager where not."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from marl.core.environment import Environment, FiniteEnvironment, finite_environment
from marl.core.fused import (
    FusedNeighborhoodSoftmax,
    action_count,
    arguments,
    check_states,
    compiled_step,
    last_actions,
    refusal,
    spread,
)
from marl.core.noise import Noise
from marl.core.policy import Policy
from marl.core.shapes import Rewards

CHUNK = 4096
"""Most steps of one call."""
MAX_TABLE = 2**25
"""Largest replicas x agents x states x actions whose probabilities are laid out as a table."""
_BYTES = 2**27
"""Most that one call should write down."""


class Rollout(NamedTuple):
    """K consecutive steps z(t) .. z(t + K). Shapes: s, a [K + 1, B, n, ...], r [K, B, n]."""

    s: Tensor
    a: Tensor
    r: Rewards


class Collector:
    """Draws rollouts of one environment and one policy; the numbers are the same whether it is compiled or not.

    compiled: the environment has a compiled step, and the policy gives its probabilities as a table, or as one over the
    states of its neighbors, and draws actions as every policy does.
    longest: the most steps to ask for at a time.
    """

    def __init__(self, env: Environment, policy: Policy):
        self.env, self.policy = env, policy
        self.compiled = False
        if isinstance(env, FiniteEnvironment):
            self.compiled = _compiles(env, policy)
            self._last = last_actions(env.action_mask).numpy()
        self.longest = max(1, min(CHUNK, _BYTES // (24 * policy.replicas * env.n)))

    @torch.no_grad()
    def __call__(self, noise: Noise, s: Tensor, a: Tensor, t: int, steps: int) -> Rollout:
        """The steps from t on, where the agents are in s [B, n, ...] and have drawn a [B, n, ...] already.

        Errors: `ContractError` if the compiled step gave a state that does not exist.
        """
        record = Rollout(
            s=s.new_empty(steps + 1, *s.shape),
            a=a.new_empty(steps + 1, *a.shape),
            r=torch.empty(steps, *s.shape[:2], dtype=torch.float64),
        )
        record.s[0], record.a[0] = s, a
        (self._compiled if self.compiled else self._eager)(noise, t, record)
        return record

    def _eager(self, noise: Noise, t: int, record: Rollout) -> None:
        for k in range(len(record.r)):
            u = noise(t + k + 1)
            record.s[k + 1], record.r[k] = self.env.step(record.s[k], record.a[k], u[..., :-1])
            record.a[k + 1] = self.policy.sample(record.s[k + 1], u[..., -1])

    def _compiled(self, noise: Noise, t: int, record: Rollout) -> None:
        from marl.kernels import rollout as kernel  # numba takes its time: only where it is used

        env, replicas = finite_environment(self.env, "a compiled rollout"), self.policy.replicas
        form = self.policy.neighborhood_table()
        rows = np.empty((replicas, 0)) if form is not None else self._rows()
        seen = form or FusedNeighborhoodSoftmax(
            torch.empty(0, 0, dtype=torch.int64), torch.empty(0, dtype=torch.int64), torch.empty(replicas, 0, 0, 0, 0, 0)
        )
        legal, theta = env.action_mask.numpy(), seen.theta.double().cpu().numpy()
        near, size, states = seen.near.cpu().numpy(), seen.size.cpu().numpy(), env.num_states.numpy()
        sampler = kernel.Sampler(states, self._last, rows, near, size, legal, theta)
        done = np.zeros(replicas, dtype=np.int64)
        written = kernel.Record(record.s.numpy(), record.a.numpy(), record.r.numpy(), done)
        with spread(replicas) as threaded:
            run: Any = kernel.rollout if threaded else kernel.rollout_in_turn
            run(*arguments(env), action_count(legal.shape[2]), sampler, noise.keys, t, written)
        check_states(env, done)

    def _rows(self) -> np.ndarray:
        """The probabilities, laid out beside logits that are not read."""
        table = self.policy.probability_table().cpu()
        laid_out = torch.zeros(*table.shape[:-1], 2, table.shape[-1], dtype=table.dtype)
        laid_out[..., 1, :] = table
        return laid_out.flatten(1).numpy()


def _compiles(env: FiniteEnvironment, policy: Policy) -> bool:
    form = compiled_step(env)
    own = type(policy).sample is not Policy.sample
    listed = not policy.localized or policy.replicas * env.action_mask.numel() <= MAX_TABLE
    given = policy.localized or policy.neighborhood_table() is not None
    return not own and listed and given and form is not None and not refusal(env, form)
