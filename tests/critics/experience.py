"""What tests of critics share: random experience, one learning step, the pairs that a neighborhood sees, a table read."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.optim import SGD

from marl.core.critic import Critic, Transition
from marl.core.environment import Environment
from marl.critics import TabularCritic
from marl.critics.hash_storage import HashStorage
from marl.testing import random_inputs

REPLICAS = 2
ALPHA = 0.3


def experience(env: Environment, steps: int, seed: int = 0) -> Iterator[Transition]:
    """Random legal pairs with random rewards of both signs; no dynamics, so that every pair is met."""
    draw = torch.Generator().manual_seed(seed)
    for t in range(steps):
        s, a, _ = random_inputs(env, 2 * REPLICAS, seed * 10**6 + t)
        yield Transition(
            s[:REPLICAS],
            a[:REPLICAS],
            torch.randn(REPLICAS, env.n, generator=draw, dtype=torch.float64),
            s[REPLICAS:],
            a[REPLICAS:],
        )


def learn(critic: Critic, step: Transition) -> None:
    optimizer = SGD(critic.parameters(), lr=ALPHA)
    if critic.table is not None:
        critic.table.visit(step.s, step.a)
        critic.table.visit(step.next_s, step.next_a)
    optimizer.zero_grad()
    critic.loss(critic.q(step.s, step.a), step).sum().backward()
    critic.track_reward(step.r, ALPHA)
    optimizer.step()
    if critic.table is not None:
        critic.table.updated(step.s, step.a)


def neighborhood_pairs(critic: Critic, s: Tensor, a: Tensor, b: int) -> list[tuple[int, ...]]:
    """(i, z_{N_i^kappa}) of every agent in replica b."""
    index, mask, _ = critic.neighborhood
    z = critic.env.index.pairs(s, a)[b].tolist()
    return [(i, *(z[j] for j in index[i, mask[i]].tolist())) for i in range(critic.env.n)]


def table_of(critic: TabularCritic, b: int) -> dict[int, float]:
    """Key -> value of every entry of replica b."""
    storage = critic.table.storage
    keys = storage.row(b)[:, 0].tolist() if isinstance(storage, HashStorage) else range(storage.stride)
    values = critic.table.values.detach()[:-1].view(critic.replicas, -1)[b, : storage.width[b]].tolist()
    return {key: value for key, value in zip(keys, values, strict=True) if key >= 0}
