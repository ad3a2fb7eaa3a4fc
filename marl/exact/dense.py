"""The chain is a matrix here, in torch and differentiable in the policy, for small joint state spaces."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from marl.core.checks import gib, size
from marl.core.errors import ConfigError
from marl.exact.local_laws import LocalLaws

MOST_STATES = 4096
"""Joint states of the largest matrix (134 MB)."""
_CHUNK = 2**25
"""Entries of the largest array on the way to the matrix (256 MB)."""
_MOST_LABELS = 52
"""Indices that one einsum can have."""

Operand = tuple[Tensor, list[int]]
"""A table and the labels of its axes: s_j is j, a_j is n + j, s_j' is 2n + j."""


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


def transition_matrix(laws: LocalLaws, policy: Sequence[Tensor], seen: list[list[int]]) -> Float[Tensor, "X X"]:
    """P_theta(s'|s) = sum_a zeta(a|s) prod_i P_i(s_i'|z_{N_i}): one einsum over all laws and policies.

    It is done for some joint states of the first agents at a time where the sum over actions would be large.
    policy: tables [S_l for l in seen[i], A]. Errors: `ConfigError` if the matrix or the number of agents is too large.
    """
    n, states = laws.n, math.prod(laws.num_states)
    check_size(laws)
    operands = _operands(laws, policy, seen)
    rows = [*range(n), *range(2 * n, 3 * n)]
    fixed = 0
    while fixed < n and _largest(operands, rows) // math.prod(laws.num_states[:fixed]) > _CHUNK:
        fixed += 1
    blocks = []
    for head in np.ndindex(*laws.num_states[:fixed]):
        sliced = []
        for table, labels in operands:
            place = tuple(head[label] if label < fixed else slice(None) for label in labels)
            sliced.append((table[place], [label for label in labels if label >= fixed]))
        blocks.append(_product(sliced, rows[fixed:]).reshape(-1, states))
    return torch.cat(blocks)


def _operands(laws: LocalLaws, policy: Sequence[Tensor], seen: list[list[int]]) -> list[Operand]:
    """Returns tables and labels in the order of the product."""
    n = laws.n
    operands = []
    for i, near in enumerate(laws.neighbors):
        if laws.sees_pairs:
            table, labels = _with_actions(laws, laws.law[i], near, near)
            operands.append((table, [*labels, 2 * n + i]))
            # averaged over a_j as soon as no later law needs it
            operands += [_policy(laws, j, policy[j], seen[j]) for j in near if max(laws.neighbors[j]) == i]
        else:
            table, scope = averaged_law(laws, i, laws.law[i], policy[i], seen[i])
            operands.append((table, [*scope, 2 * n + i]))
    return operands


def _largest(operands: list[Operand], result: list[int]) -> int:
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


def averaged_law(
    laws: LocalLaws, i: int, law: np.ndarray, policy: Tensor, seen: list[int]
) -> tuple[Float[Tensor, "*S K"], list[int]]:
    """Sums zeta_i(a_i|s_{O_i}) law over a_i, for a law (or any table like it, last axis K) that sees only i's own action.

    Returns the table over the states of N_i and O_i, in increasing order of agents, and those agents.
    """
    near, n = laws.neighbors[i], laws.n
    table, labels = _with_actions(laws, law, near, [i])
    scope = sorted({*near, *seen})
    return _product([(table, [*labels, 2 * n]), _policy(laws, i, policy, seen)], [*scope, 2 * n]), scope


def averaged_reward(
    laws: LocalLaws, i: int, policy: Sequence[Tensor], seen: list[list[int]]
) -> tuple[Float[Tensor, "*S"], list[int]]:
    """Computes E[r_i | s] = sum_a zeta(a|s) r_i(z_{N_i}), differentiable in the policy tables.

    Returns the table over the states that it depends on, in increasing order of agents, and those agents.
    """
    near = [i] if laws.env.private_rewards else laws.neighbors[i]
    operands = [_with_actions(laws, laws.reward[i], near, near), *(_policy(laws, j, policy[j], seen[j]) for j in near)]
    scope = sorted({*near, *(k for j in near for k in seen[j])})
    return _product(operands, scope), scope


def expected_rewards(laws: LocalLaws, policy: Sequence[Tensor], seen: list[list[int]]) -> Float[Tensor, "X n"]:
    """Computes E[r_i | s] of every agent, differentiable in the policy tables."""
    columns = []
    for i in range(laws.n):
        mean, scope = averaged_reward(laws, i, policy, seen)
        shape = [laws.num_states[j] if j in scope else 1 for j in range(laws.n)]
        columns.append(mean.reshape(shape).expand(laws.num_states).reshape(-1))
    return torch.stack(columns, dim=1)


def _policy(laws: LocalLaws, j: int, table: Tensor, seen: list[int]) -> Operand:
    return table[..., : int(laws.env.num_actions[j])], [*seen, laws.n + j]


def _with_actions(laws: LocalLaws, table: np.ndarray, near: list[int], pairs: list[int]) -> Operand:
    """Unfolds the axes of pairs z_j of a table, those of the agents `pairs`, into (s_j, a_j), and labels all axes.

    near: the agents of the axes but the last ones. Illegal pairs repeat a legal one; the policy gives them no weight.
    """
    labels: list[int] = []
    for axis, j in reversed(list(enumerate(near))):
        if j in pairs:
            legal = laws.env.pair_index[j, : laws.num_states[j], : int(laws.env.num_actions[j])].clamp(min=0).numpy()
            table = np.take(table, legal, axis=axis)
            labels = [j, laws.n + j, *labels]
        else:
            labels = [j, *labels]
    return torch.from_numpy(table), labels


def _product(operands: list[Operand], result: list[int]) -> Tensor:
    """Sums the product of the operands, from left to right, over all labels that are not in the result."""
    number = {label: k for k, label in enumerate(sorted({label for _, labels in operands for label in labels}))}
    parts = [part for table, labels in operands for part in (table, [number[label] for label in labels])]
    return torch.einsum(*parts, [number[label] for label in result])
