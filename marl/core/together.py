"""A policy, a critic and an environment belong together where they have the same network, sizes and legal actions."""

import hashlib
from typing import Any

import numpy as np
import torch

from marl.core.environment import Environment, FiniteEnvironment
from marl.core.errors import ConfigError


def fingerprint(env: Environment) -> str:
    """Digests what has to be the same where something learned is used: network, sizes and legal actions."""
    tables = (env.num_states, env.num_actions, env.action_mask) if isinstance(env, FiniteEnvironment) else ()
    whole = hashlib.sha256(str(env.n).encode())
    for array in (env.network.edges, *tables):
        numbers = np.ascontiguousarray(array)
        whole.update(f"{numbers.shape} {numbers.dtype}".encode())
        whole.update(numbers.view(np.uint8).data if numbers.size else b"")
    return whole.hexdigest()


def check_together(env: Environment, *parts: Any) -> None:
    """Checks every policy and critic of `parts` against the environment that it shall be used in.

    Its own environment, which it was made for, may be another object and obey another law: states, actions and neighbors
    have to be the same. Errors: `ConfigError` that says what differs.
    """
    for part in parts:
        own = part.env
        if own is not env and (what := _difference(own, env)):
            raise ConfigError(
                f"this {type(part).__name__} was made for another {type(own).__name__} than the {type(env).__name__} that "
                f"it is used in: {what}; make it with the environment that it is used in"
            )


def _difference(own: Environment, env: Environment) -> str | None:
    """Says how the environment of a part differs from the one that it is used in, or None if no part can tell."""
    if own.n != env.n:
        return f"it has {own.n} agents, not {env.n}"
    if isinstance(own, FiniteEnvironment) and isinstance(env, FiniteEnvironment) and (what := _other_sizes(own, env)):
        return what
    if not np.array_equal(own.network.edges, env.network.edges):
        mine, here = ({*map(tuple, of.network.edges.tolist())} for of in (own, env))
        i, j = min(mine ^ here)
        return f"agents {i} and {j} are neighbors {'there and not here' if (i, j) in mine else 'here and not there'}"
    return None


def _other_sizes(own: FiniteEnvironment, env: FiniteEnvironment) -> str | None:
    for things, mine, sizes in (
        ("states", own.num_states, env.num_states),
        ("actions", own.num_actions, env.num_actions),
    ):
        if not torch.equal(mine, sizes):
            i = int((mine != sizes).nonzero()[0])
            return f"agent {i} has {int(mine[i])} {things} there and {int(sizes[i])} here"
    if not torch.equal(own.action_mask, env.action_mask):
        i, s, a = (own.action_mask != env.action_mask).nonzero()[0].tolist()
        where = "there and not here" if own.action_mask[i, s, a] else "here and not there"
        return f"agent {i} may take action {a} in state {s} {where}"
    return None
