"""A policy owes probabilities of legal actions, drawn by inverse CDF on one uniform, and replicas apart."""

import functools
from collections.abc import Callable
from typing import Any

import torch

from marl.core.environment import Environment, FiniteEnvironment, finite_environment
from marl.core.policy import NaturalGradientPolicy, Policy
from marl.testing.compiled import check_compiled_policy, check_compiled_rollout
from marl.testing.demands import demand, demand_equal, precision
from marl.testing.fisher import check_natural_gradient
from marl.testing.inputs import random_pairs
from marl.testing.learning import REPLICAS, SEED, SIZE, check_derivative, check_replicas, check_saved, climb, shaken
from marl.testing.probabilities import AXES, check_probabilities


def check_policy(kind: Callable[..., Policy], env: Environment, **arguments: Any) -> None:
    """Holds the policies `kind(env, replicas=..., seed=..., **arguments)` against what a policy owes.

    Probabilities are those of legal actions and see s_i alone, or the states of N_i^k where `hops` is k;
    log-probabilities, entropy and table agree with them; actions are drawn by inverse CDF; axes in front of the replicas
    are steps; replica b is the policy of seed + b alone, before and after it has learned; a saved state is the policy
    again; `score_bound` is true; of a `NaturalGradientPolicy` also that it solves the Fisher system, and that compiled runs
    and rollouts are those of autograd, where they are declared.
    env: a small finite environment; for `fused` and `sampled` one with a compiled step.

    Errors: `ContractError` that says what differs and where; `ConfigError` if `env` does not serve.
    """
    env = finite_environment(env, "check_policy")
    make = functools.partial(kind, env, **arguments)
    policy = shaken(make(replicas=REPLICAS, seed=SEED))
    _check_legal(policy)
    _check_locality(policy)
    _check_replicas(make, env)
    check_probabilities(policy)
    _check_axes(policy)
    s, a = random_pairs(env, 20, REPLICAS, seed=8)
    check_saved(policy, make(replicas=REPLICAS, seed=SEED + 50), lambda part: part.probs(s))
    check_derivative(policy, f"log_prob of {type(policy).__name__}", lambda: policy.log_prob(s, a).sum(), policy.dtype)
    _check_score_bound(policy)
    if isinstance(policy, NaturalGradientPolicy):
        check_natural_gradient(policy)
    check_compiled_rollout(env, policy)
    if "fused" in vars(type(policy)):
        check_compiled_policy(env, make)


def _check_legal(policy: Policy) -> None:
    """Checks that there is something to do everywhere, of which anything else would be a riddle."""
    s, _ = random_pairs(policy.env, 20, REPLICAS, seed=1)
    for k, b, i in policy.probs(s).isnan().any(dim=-1).nonzero().tolist():
        broken = f"{type(policy).__name__} leaves agent {i} no legal action in its state {s[k, b, i]}"
        demand(False, f"{broken}, at states {s[k, b].tolist()}")


def _check_locality(policy: Policy) -> None:
    """Checks what a policy sees."""
    kappa = policy.env.n if policy.hops is None else policy.hops
    s, _ = random_pairs(policy.env, 20, REPLICAS, seed=3)
    probs, (index, mask, _) = policy.probs(s), policy.env.network.neighborhood(kappa)
    seen = "others, and hops is 0" if policy.localized else f"agents more than hops = {kappa} away"
    for i in range(policy.env.n):
        other, near = random_pairs(policy.env, 20, REPLICAS, seed=100 + i)[0], index[i, mask[i]]
        other[..., near] = s[..., near]
        broken, found = f"zeta_{i} of {type(policy).__name__} changes with states of {seen}", policy.probs(other)[..., i, :]
        demand_equal(found, probs[..., i, :], broken, axes=("replica", "action"), tolerance=precision(policy.dtype))


def _check_axes(policy: Policy) -> None:
    for steps in (1, 2), (5, 12):
        s, _ = random_pairs(policy.env, *steps, REPLICAS, seed=5)
        alone = torch.stack([policy.probs(x) for x in s.flatten(0, 1)]).unflatten(0, steps)
        broken = f"probs of {type(policy).__name__} with axes of steps in front is not that of every step"
        demand_equal(policy.probs(s), alone, broken, axes=AXES, tolerance=precision(policy.dtype))


def _check_score_bound(policy: Policy) -> None:
    learned = [parameter for parameter in policy.parameters() if parameter.requires_grad]
    if policy.score_bound is None or not learned:
        return
    s, a = random_pairs(policy.env, REPLICAS, seed=6)
    for i in range(policy.env.n):
        gradients = torch.autograd.grad(policy.log_prob(s, a)[0, i], learned, allow_unused=True)
        score = sum(float(gradient.square().sum()) for gradient in gradients if gradient is not None) ** 0.5
        broken = f"the score of agent {i} of {type(policy).__name__} is {score}, above its score_bound {policy.score_bound}"
        demand(score <= policy.score_bound * (1.0 + precision(policy.dtype)), broken)


def _check_replicas(make: Callable[..., Policy], env: FiniteEnvironment) -> None:
    s, a = random_pairs(env, 12, REPLICAS, seed=7)

    def teach(policy: Policy, k: int, rows: slice) -> None:
        weight = torch.randn(env.n, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
        climb(policy, policy.log_prob(s[:, rows], a[:, rows]) * weight, SIZE)

    check_replicas(make, lambda policy, rows: policy.probs(s[:, rows]).movedim(1, 0), teach, parameters=True)
