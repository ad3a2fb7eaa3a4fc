"""A critic owes values of its own neighborhood, the rule they are learned by, and replicas apart."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from marl.core.critic import CounterfactualCritic, Critic, Transition
from marl.core.environment import Environment, FiniteEnvironment, finite_environment
from marl.core.objective import Differential
from marl.testing.compiled import check_compiled_critic
from marl.testing.demands import demand, demand_equal, precision
from marl.testing.inputs import random_pairs, random_transition
from marl.testing.learning import REPLICAS, SEED, check_derivative, check_replicas, check_saved, learn, shaken
from marl.testing.learning_rule import check_counterfactual, check_learning_rule
from marl.testing.table import check_table


def check_critic(kind: Callable[..., Critic], env: Environment, **arguments: Any) -> None:
    """Holds the critics `kind(env, replicas=..., seed=..., **arguments)` against what a critic owes.

    Q_i sees z_{N_i^kappa} alone; axes in front of the replicas are steps; values are differentiable in the parameters;
    replica b is the critic of seed + b alone, before and after it has learned; a saved state is the critic again; `loss`,
    `track_reward` and `advantage` are what `Critic` says; of a `CounterfactualCritic` also its values, of a table also
    that, and of a class that defines `fused` also that it learns the same compiled.
    env: a small finite environment in which some agents are farther apart than kappa; for `fused` with a compiled step.

    Errors: `ContractError` that says what differs and where; `ConfigError` if `env` does not serve.
    """
    env = finite_environment(env, "check_critic")
    make = functools.partial(kind, env, **arguments)
    critic = make(replicas=REPLICAS, seed=SEED)
    if critic.table is None:
        shaken(critic)
    else:
        check_table(critic)
    _check_axes(critic)
    _check_locality(critic)
    check_learning_rule(critic)
    _check_actions(critic)
    _check_derivative(critic)
    _check_saved(make, critic)
    _check_replicas(make, env, parameters=critic.table is None)
    if "fused" in vars(type(critic)):
        check_compiled_critic(env, make)


def _check_axes(critic: Critic) -> None:
    """Checks that there is one answer per agent, with any axes of steps in front, few or many."""
    for steps in (1, 2), (5, 12):
        s, a = random_pairs(critic.env, *steps, REPLICAS, seed=1)
        q = critic.q(s, a)
        found, expected = f"{list(q.shape)} {q.dtype}", f"{list(s.shape)} {critic.dtype}"
        demand(found == expected, f"q of {type(critic).__name__} is {found}, which must be {expected}")
        alone = torch.stack([critic.q(x, y) for x, y in zip(s.flatten(0, 1), a.flatten(0, 1), strict=True)])
        broken = f"q of {type(critic).__name__} with axes of steps in front is not that of every step"
        demand_equal(q, alone.view(s.shape), broken, tolerance=precision(critic.dtype))


def _check_locality(critic: Critic) -> None:
    s, a = random_pairs(critic.env, 20, REPLICAS, seed=2)
    q, (index, mask, _) = critic.q(s, a), critic.env.network.neighborhood(critic.kappa)
    for i in range(critic.env.n):
        other_s, other_a = random_pairs(critic.env, 20, REPLICAS, seed=100 + i)
        near = index[i, mask[i]]
        other_s[..., near], other_a[..., near] = s[..., near], a[..., near]
        broken = f"Q_{i} of {type(critic).__name__} changes with pairs more than kappa = {critic.kappa} hops away"
        found = critic.q(other_s, other_a)[..., i]
        demand_equal(found, q[..., i], broken, axes=("replica",), tolerance=precision(critic.dtype))


def _check_actions(critic: Critic) -> None:
    s, a = random_pairs(critic.env, 8, REPLICAS, seed=0)
    if critic.ignores_actions:
        first = (critic.env.index.choices(s) >= 0).long().argmax(dim=-1)
        broken = f"q of {type(critic).__name__} changes with actions, but it says ignores_actions"
        demand_equal(critic.q(s, first), critic.q(s, a), broken, tolerance=precision(critic.dtype))
    if isinstance(critic, CounterfactualCritic):
        check_counterfactual(critic, s, a)


def _check_derivative(critic: Critic) -> None:
    s, a = random_pairs(critic.env, 20, REPLICAS, seed=8)
    weight = torch.randn(s.shape, generator=torch.Generator().manual_seed(9), dtype=torch.float64)
    check_derivative(critic, f"q of {type(critic).__name__}", lambda: (critic.q(s, a) * weight).sum(), critic.dtype)


def _check_saved(make: Callable[..., Critic], critic: Critic) -> None:
    """Checks that a loaded state says the same, and learns the same."""
    s, a = random_pairs(critic.env, 20, REPLICAS, seed=8)

    def tell(part: Critic) -> Tensor:
        known = [part.mu] if isinstance(part.objective, Differential) else []
        return torch.stack([*part.q(s, a), *known])

    other = make(replicas=REPLICAS, seed=SEED + 50)
    check_saved(critic, other, tell)
    for part in critic, other:
        learn(part, random_transition(critic.env, REPLICAS, 12))
    broken = f"{type(critic).__name__} learns otherwise once its state_dict was loaded again"
    demand_equal(other.q(s, a), critic.q(s, a), broken, tolerance=precision(critic.dtype))


def _check_replicas(make: Callable[..., Critic], env: FiniteEnvironment, *, parameters: bool) -> None:
    s, a = random_pairs(env, 12, REPLICAS, seed=10)
    steps = [random_transition(env, REPLICAS, 20 + k) for k in range(4)]
    check_replicas(
        make,
        lambda critic, rows: critic.q(s[:, rows], a[:, rows]).movedim(1, 0),
        lambda critic, k, rows: learn(critic, Transition(*(part[rows] for part in steps[k]))),
        parameters=parameters,
    )
