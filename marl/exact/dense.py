"""The chain is a matrix here, in torch and differentiable in the policy, for small joint state spaces."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from marl.core.checks import gib, integer, size
from marl.core.errors import ConfigError
from marl.core.policy import Policy
from marl.exact.local_laws import LocalLaws

MOST_STATES = 4096
"""Joint states of the largest matrix (134 MB)."""
_CHUNK = 2**25
"""Entries of the largest array on the way to the matrix (256 MB)."""
_MOST_LABELS = 52
"""Indices that one einsum can have."""


def fits(laws: LocalLaws) -> bool:
    """Says whether a matrix over the joint states is small enough."""
    return math.prod(laws.num_states) <= MOST_STATES and 3 * laws.n <= _MOST_LABELS


def check_size(laws: LocalLaws) -> None:
    """Checks sizes. Errors: `ConfigError` if a matrix over the joint states is too large, or the agents are too many."""
    num_states = math.prod(laws.num_states)
    if num_states > MOST_STATES:
        raise ConfigError(
            f"a matrix over {size(num_states)} joint states would take {gib(8 * num_states**2)} GiB; they end "
            f"at {MOST_STATES} joint states (use method=free or a smaller network)"
        )
    if 3 * laws.n > _MOST_LABELS:
        raise ConfigError(f"matrices are built for at most {_MOST_LABELS // 3} agents, got {laws.n}; use method=free")


def policy_tables(policy: Policy, replica: int = 0) -> list[Tensor]:
    """Returns zeta_i(a|s) of every agent [S_i, A], float64, differentiable in the policy's parameters.

    Rows are divided by their sum: those of a float32 policy miss one by more than exact numbers allow.

    Errors: `ConfigError` if the policy has no such replica, or looks at more than s_i: then there is no such table.
    """
    if not policy.localized:
        raise ConfigError(
            f"exact numbers and certificates are of policies zeta_i(a_i | s_i); {type(policy).__name__} "
            "looks at the neighbors' states"
        )
    if integer("replica", replica, 0) >= policy.replicas:
        raise ConfigError(f"replica {replica} is not among the policy's {policy.replicas}, which are numbered from 0")
    env = policy.env
    rows = [  # agents with fewer states repeat their last one
        policy.probs(env.num_states.clamp(max=s + 1).sub(1).expand(policy.replicas, env.n))[replica].double().cpu()
        for s in range(env.action_mask.shape[1])
    ]
    tables = torch.stack(rows, dim=1)
    tables = tables / tables.sum(dim=-1, keepdim=True)
    return [table[:size] for table, size in zip(tables, env.num_states.tolist(), strict=True)]


def transition_matrix(laws: LocalLaws, policy: Sequence[Tensor]) -> Float[Tensor, "X X"]:
    """P_theta(s'|s) = sum_a zeta(a|s) prod_i P_i(s_i'|z_{N_i}): one einsum over all laws and policies.

    It is done for some joint states of the first agents at a time where the sum over actions would be large.
    policy: tables [S_i, A]. Errors: `ConfigError` if the matrix or the number of agents is too large.
    """
    n, states = laws.n, math.prod(laws.num_states)
    check_size(laws)
    operands = _operands(laws, policy)
    rows = [*range(n), *range(2 * n, 3 * n)]
    fixed = 0
    while fixed < n and _largest(operands, rows) // math.prod(laws.num_states[:fixed]) > _CHUNK:
        fixed += 1
    blocks = []
    for head in np.ndindex(*laws.num_states[:fixed]):
        sliced = []
        for table, labels in operands:
            place = tuple(head[label] if label < fixed else slice(None) for label in labels)
            sliced += [table[place], [label for label in labels if label >= fixed]]
        blocks.append(torch.einsum(*sliced, rows[fixed:]).reshape(-1, states))
    return torch.cat(blocks)


def _operands(laws: LocalLaws, policy: Sequence[Tensor]) -> list[tuple[Tensor, list[int]]]:
    """Returns tables and labels in the order of the product; labels: s_j is j, a_j is n + j, s_j' is 2n + j."""
    n = laws.n
    operands = []
    for i, near in enumerate(laws.neighbors):
        table, labels = _with_actions(laws, laws.law[i], near, laws.own[i])
        if laws.sees_pairs:
            operands.append((table, [*labels, 2 * n + i]))
            # averaged over a_j as soon as no later law needs it
            operands += [(policy[j], [j, n + j]) for j in near if max(laws.neighbors[j]) == i]
        else:
            averaged = [*near, 2 * n + i]
            operands.append((torch.einsum(table, [*labels, 2 * n + i], policy[i], [i, n + i], averaged), averaged))
    return operands


def _largest(operands: list[tuple[Tensor, list[int]]], result: list[int]) -> int:
    """Counts the entries of the largest array on the way from left to right through the product."""
    size = {label: table.shape[axis] for table, labels in operands for axis, label in enumerate(labels)}
    alive: set[int] = set()
    largest = 0
    for k, (_, labels) in enumerate(operands):
        alive |= set(labels)
        largest = max(largest, math.prod(size[label] for label in alive))
        needed = {label for _, later in operands[k + 1 :] for label in later} | set(result)
        alive &= needed
    return largest


def expected_rewards(laws: LocalLaws, policy: Sequence[Tensor]) -> Float[Tensor, "X n"]:
    """E[r_i | s] = sum_a zeta(a|s) r_i(z_{N_i}), differentiable in the policy tables."""
    n, columns = laws.n, []
    for i in range(n):
        near = [i] if laws.env.private_rewards else laws.neighbors[i]
        table, labels = _with_actions(laws, laws.reward[i], near, None)
        averages = [part for j in near for part in (policy[j], [j, n + j])]
        mean = torch.einsum(table, labels, *averages, near)
        shape = [laws.num_states[j] if j in near else 1 for j in range(n)]
        columns.append(mean.reshape(shape).expand(laws.num_states).reshape(-1))
    return torch.stack(columns, dim=1)


def _with_actions(laws: LocalLaws, table: np.ndarray, near: list[int], own: int | None) -> tuple[Tensor, list[int]]:
    """Unfolds every axis of pairs z_j of a table into (s_j, a_j), and labels its axes: j and n + j.

    own: the only axis that holds pairs where laws see no other action; None if all do. Illegal pairs repeat a legal
    one; the policy gives them no weight.
    """
    labels: list[int] = []
    for axis, j in reversed(list(enumerate(near))):
        if own is None or laws.sees_pairs or axis == own:
            legal = laws.env.pair_index[j, : laws.num_states[j]].clamp(min=0).numpy()
            table = np.take(table, legal, axis=axis)
            labels = [j, laws.n + j, *labels]
        else:
            labels = [j, *labels]
    return torch.from_numpy(table), labels
