"""A policy is read off as tables zeta_i(a_i | s_{O_i}), O_i the agents whose states agent i sees, by asking it.

O_i is N_i^hops: agent i alone where hops = 0, every agent where hops is None.
"""

import math

import numpy as np
import torch
from torch import Tensor

from marl.core.checks import gib, integer, size
from marl.core.errors import ConfigError
from marl.core.policy import Policy
from marl.exact.local_laws import far_apart

MOST_ENTRIES = 2**24
"""Numbers in the tables of all agents (128 MB)."""
_CHUNK = 2**22
"""Probabilities that the policy is asked for at a time (32 MB)."""


def seen_agents(policy: Policy) -> list[list[int]]:
    """Lists O_i of every agent in increasing order, i included.

    Errors: `ConfigError` with the size if the tables over these states would be too large, if the policy does not say how
    far it sees, or if it sees all states of a network that falls into parts: then influence would not follow its edges.
    """
    env, hops = policy.env, policy.hops
    if hops == 0 and not policy.localized:
        raise ConfigError(f"{type(policy).__name__} is not localized and does not say how far it sees; set hops = k in it")
    if hops == 0:
        return [[i] for i in range(env.n)]
    sizes = env.num_states.tolist()
    if hops is None:
        _check_size(policy, env.n * math.prod(sizes))
        if (parts := env.network.num_components()) > 1:
            raise ConfigError(
                f"{type(policy).__name__} sees all states (hops=None), across a network of {parts} parts; exact numbers "
                "need a connected network there, or a policy with hops=k, which sees along edges only"
            )
        return [list(range(env.n))] * env.n
    index, mask, _ = env.network.neighborhood(hops)
    seen = [near[inside].tolist() for near, inside in zip(index, mask, strict=True)]
    _check_size(policy, sum(math.prod(sizes[j] for j in near) for near in seen))
    return seen


def policy_tables(policy: Policy, replica: int = 0) -> list[Tensor]:
    """Returns zeta_i(a|s_{O_i}) of every agent [S_l for l in O_i, A], float64, differentiable in the policy's parameters.

    Rows are divided by their sum: those of a float32 policy miss one by more than exact numbers allow.

    Errors: `ConfigError` if the policy has no such replica, and as `seen_agents`.
    """
    if integer("replica", replica, 0) >= policy.replicas:
        raise ConfigError(f"replica {replica} is not among the policy's {policy.replicas}, which are numbered from 0")
    seen, sizes = seen_agents(policy), policy.env.num_states.tolist()
    shapes = [[sizes[j] for j in near] for near in seen]
    tables: list[Tensor] = [torch.empty(0)] * len(seen)
    for group in far_apart(seen):
        for i, rows in zip(group, _asked(policy, replica, group, seen, shapes), strict=True):
            tables[i] = (rows / rows.sum(dim=-1, keepdim=True)).reshape(*shapes[i], -1)
    return tables


def _asked(policy: Policy, replica: int, group: list[int], seen: list[list[int]], shapes: list[list[int]]) -> list[Tensor]:
    """Asks for agents that see nobody in common, in the same questions: [joint states of O_i, A] of each."""
    env = policy.env
    counts = [math.prod(shapes[i]) for i in group]
    rows = max(1, _CHUNK // (policy.replicas * env.n * env.action_mask.shape[2]))
    answers: list[list[Tensor]] = [[] for _ in group]
    for start in range(0, max(counts), rows):
        asked = np.arange(start, min(start + rows, max(counts)))
        s = np.zeros((len(asked), env.n), dtype=np.int64)
        for i, count in zip(group, counts, strict=True):
            own = asked[asked < count]
            s[: len(own), seen[i]] = np.stack(np.unravel_index(own, shapes[i]), axis=-1)
        probs = policy.probs(torch.from_numpy(s)[:, None].expand(-1, policy.replicas, -1))[:, replica].double().cpu()
        for i, count, answer in zip(group, counts, answers, strict=True):
            answer.append(probs[: max(0, count - start), i])
    return [torch.cat(answer) for answer in answers]


def _check_size(policy: Policy, rows: int) -> None:
    entries = rows * policy.env.action_mask.shape[2]
    if entries > MOST_ENTRIES:
        far = "all states" if policy.hops is None else f"the states within {policy.hops} hops"
        raise ConfigError(
            f"{type(policy).__name__} sees {far}, and its tables would have {size(entries)} entries ({gib(8 * entries)} "
            f"GiB), more than the {size(MOST_ENTRIES)} that exact numbers are computed with; use a policy that sees less, "
            "or fewer agents, states or actions"
        )
