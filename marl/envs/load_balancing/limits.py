"""A loss that no way to balance the load can get below is computed here."""

from typing import Protocol, runtime_checkable

import numpy as np
from torch import Tensor

from marl.core.errors import ConfigError

MAX_ROOM = 2**12
"""Largest room of a pooled queue whose chain is solved."""


@runtime_checkable
class Queues(Protocol):
    """This is what of a `LoadBalancing` enters the bound."""

    buffer: Tensor
    arrival: Tensor
    service: Tensor


def pooled_loss(env: Queues) -> float:
    """Bounds the jobs lost per agent and slot of every policy, centralized ones included, from below.

    All queues are one of room C = sum_i B_i: with x jobs, the min(x, n) fastest servers finish one each with probabilities
    mu_i, then every dispatcher puts in a job with probability lam_i, and what exceeds C is lost. Returned is its long-run
    loss per slot, started empty, divided by n; the average reward of any policy is at most minus that, for any `holding`.
    docs/systems/load_balancing.md proves it. The chain of x is solved exactly, to about 1e-14.

    Errors: `ConfigError` if C is above `MAX_ROOM`.
    """
    n, room = len(env.buffer), int(env.buffer.sum())
    if room > MAX_ROOM:
        raise ConfigError(
            f"the pooled queue has room for {room} jobs, at most {MAX_ROOM} can be solved for; take fewer agents "
            "or smaller buffers"
        )
    arrivals = np.ones(1)
    for p in env.arrival.tolist():
        arrivals = np.convolve(arrivals, (1.0 - p, p))
    matrix, lost, services = np.zeros((room + 1, room + 1)), np.zeros(room + 1), np.ones(1)
    fastest = sorted(env.service.tolist(), reverse=True)
    for x in range(room + 1):
        if 0 < x <= n:
            services = np.convolve(services, (1.0 - fastest[x - 1], fastest[x - 1]))
        change = np.convolve(services[::-1], arrivals)  # of x, from -min(x, n) to n
        after = x + np.arange(len(change)) - (len(services) - 1)
        np.add.at(matrix[x], np.minimum(after, room), change)
        lost[x] = change @ np.maximum(after - room, 0)
    return float(_stationary(matrix) @ lost) / n


def _stationary(matrix: np.ndarray) -> np.ndarray:
    """Solves for the stationary law of a chain started in state 0, which leads to one recurrent class."""
    reached, seen = np.arange(len(matrix)) == 0, 0
    while seen < (seen := int(reached.sum())):
        reached |= (matrix[reached] > 0.0).any(axis=0)
    inside = np.flatnonzero(reached)
    balance = np.eye(len(inside)) - matrix[np.ix_(inside, inside)].T
    balance[-1] = 1.0
    law = np.zeros(len(matrix))
    law[inside] = np.linalg.solve(balance, np.eye(len(inside))[-1])
    return law
