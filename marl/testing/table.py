"""The table of a critic owes one free number for every pair that was met, and the largest of them."""

import math

import torch
from torch import Tensor

from marl.core.critic import Critic, Transition
from marl.core.table import Table
from marl.testing.demands import demand, demand_equal, precision
from marl.testing.inputs import random_pairs, random_transition
from marl.testing.learning import SIZE, climb

STEPS = 24


def check_table(critic: Critic) -> None:
    """Holds the table of a critic that has learned nothing against what it owes, and leaves it taught.

    Unseen pairs are 0; a gradient step is line 6 at the pair that was met (which stays 0 if it is never learned), and
    changes no other; entries grow only if the table says so; `sup_norm` is exact, tracked or not; making room changes no
    value. Errors: `ContractError`.
    """
    table, name = critic.table, type(critic).__name__
    assert table is not None
    s, a = random_pairs(critic.env, 50, critic.replicas, seed=0)
    demand_equal(critic.q(s, a), 0.0, f"a pair that was never met must have the value 0 in the table of {name}")
    steps = [random_transition(critic.env, critic.replicas, 30 + k) for k in range(STEPS)]
    _check_growth(critic, table, steps[0])
    learned = False
    for k, step in enumerate(steps):
        if k in (0, STEPS // 2):
            table.track_sup_norm(k == 0)
        before = _values(critic, steps[: k + 1])
        moved = _check_step(critic, table, step)
        learned = learned or moved
        now = _values(critic, steps[: k + 1])
        kept = torch.where(_met(critic, steps[: k + 1], step), now, before)
        demand_equal(now, kept, f"line 6 changes entries of {name} other than those of the pair that was met")
        broken, largest = f"sup_norm of the table of {name} is not the largest |Q|", now.abs().amax(dim=(0, 2))
        demand_equal(table.sup_norm(), largest, f"{broken} after {k + 1} steps", axes=("replica",))
        _check_room(critic, table, now, steps[: k + 1])
    demand(learned, f"the table of {name} learned nothing in {STEPS} gradient steps")


def _values(critic: Critic, steps: list[Transition]) -> Tensor:
    return torch.stack([critic.q(step.s, step.a).detach() for step in steps])


def _met(critic: Critic, steps: list[Transition], now: Transition) -> Tensor:
    """Says whether an agent's neighborhood did at every step what it does now [K, B, n]."""
    index, mask, _ = critic.env.network.neighborhood(critic.kappa)
    pairs = critic.env.index.pairs
    seen = torch.stack([pairs(step.s, step.a) for step in steps])
    return ((seen[..., index] == pairs(now.s, now.a)[..., index]) | ~mask).all(dim=-1)


def _check_growth(critic: Critic, table: Table, step: Transition) -> None:
    """Checks that entries are made by visits alone, if at all."""
    name = type(critic).__name__
    if table.grows:
        climb(critic, critic.loss(critic.q(step.s, step.a), step), -SIZE)
        broken = f"the table of {name} grows with visits, but learns at a pair that was not visited"
        demand_equal(critic.q(step.s, step.a), 0.0, broken)
    bytes_ahead = [table.growth(visits) for visits in (0, 1, 100)]
    rises = 0 <= bytes_ahead[0] <= bytes_ahead[1] <= bytes_ahead[2]
    broken = f"growth of the table of {name} for 0, 1 and 100 visits is {bytes_ahead}; it must not fall, nor be below 0"
    demand(rises, broken)
    still = table.grows or bytes_ahead[2] == 0
    demand(still, f"the table of {name} says that it does not grow, but also that it may take {bytes_ahead[2]} bytes more")
    finite = all(math.isfinite(value) for value in table.metrics().values())
    demand(finite, f"metrics of the table of {name} must be finite numbers, they are {table.metrics()}")


def _check_step(critic: Critic, table: Table, step: Transition) -> bool:
    """Takes line 6, and says whether anything was learned."""
    if table.grows:
        table.visit(step.s, step.a)
    before, following = critic.q(step.s, step.a).detach(), critic.q(step.next_s, step.next_a).detach()
    delta = critic.centered(step.r) + critic.objective.gamma * following - before
    climb(critic, critic.loss(critic.q(step.s, step.a), step), -SIZE)
    table.updated(step.s, step.a)
    after = critic.q(step.s, step.a).detach()
    never = (before == 0.0) & (after == 0.0)
    broken = f"a gradient step of size alpha on the table of {type(critic).__name__} is not line 6, Q_i + alpha delta_i"
    expected = torch.where(never, after, before + SIZE * delta)
    demand_equal(after, expected, broken, tolerance=precision(critic.dtype))
    return not bool(never.all())


def _check_room(critic: Critic, table: Table, now: Tensor, steps: list[Transition]) -> None:
    table.make_room(7)
    broken = f"making room in the table of {type(critic).__name__} changes what is in it"
    demand_equal(_values(critic, steps), now, broken)
