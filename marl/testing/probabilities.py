"""What a policy says in several ways - probabilities, logarithms, entropy, table, samples - must be one thing."""

import torch

from marl.core.environment import ALMOST_ONE
from marl.core.errors import ConfigError
from marl.core.policy import Policy
from marl.testing.demands import demand, demand_equal, precision
from marl.testing.inputs import random_pairs
from marl.testing.learning import REPLICAS

AXES = ("replica", "agent", "action")


def check_probabilities(policy: Policy) -> None:
    """Holds everything that follows from the probabilities of a policy against them. Errors: `ContractError`."""
    _check_numbers(policy)
    _check_what_follows(policy)
    _check_table(policy)
    _check_samples(policy)


def _check_numbers(policy: Policy) -> None:
    env, name, (s, _) = policy.env, type(policy).__name__, random_pairs(policy.env, 30, REPLICAS, seed=0)
    probs, legal = policy.probs(s).detach(), policy.env.index.choices(s) >= 0
    found, expected = f"{list(probs.shape)} {probs.dtype}", f"{[*s.shape, env.action_mask.shape[2]]} {policy.dtype}"
    demand(found == expected, f"probs of {name} is {found}, which must be {expected}")
    illegal = torch.where(legal, 0.0, probs)
    demand_equal(illegal, 0.0, f"an illegal action has a probability in {name}", axes=AXES)
    demand(bool((probs >= 0.0).all()), f"{name} has a probability below 0, or one that is no number")
    tolerance = 32 * torch.finfo(policy.dtype).eps
    demand_equal(probs.sum(dim=-1), 1.0, f"the probabilities of {name} do not sum to 1", tolerance=tolerance)


def _check_what_follows(policy: Policy) -> None:
    """Checks that log_probs, log_prob and entropy say what the probabilities say."""
    s, a = random_pairs(policy.env, 30, REPLICAS, seed=1)
    name, probs, tolerance = type(policy).__name__, policy.probs(s).detach(), precision(policy.dtype)
    broken = f"log_probs of {name} is not the logarithm of probs"
    demand_equal(policy.log_probs(s).exp(), probs, broken, axes=AXES, tolerance=tolerance)
    taken = probs.gather(-1, a[..., None]).squeeze(-1)
    broken = f"log_prob of {name} is not the logarithm of the probability of the action"
    demand_equal(policy.log_prob(s, a).exp(), taken, broken, tolerance=tolerance)
    entropy = -torch.special.xlogy(probs, probs).sum(dim=-1)
    demand_equal(policy.entropy(s), entropy, f"entropy of {name} is not -sum zeta log zeta", tolerance=tolerance)


def _check_table(policy: Policy) -> None:
    name = type(policy).__name__
    if not policy.localized:
        try:
            policy.probability_table()
        except ConfigError:
            return
        demand(False, f"{name} sees states of others, so probability_table must be refused with a ConfigError")
    table, (s, _) = policy.probability_table(), random_pairs(policy.env, 30, REPLICAS, seed=2)
    shape = (REPLICAS, *policy.env.action_mask.shape)
    demand(table.shape == shape, f"probability_table of {name} is {list(table.shape)}, which must be {list(shape)}")
    rows = table[torch.arange(REPLICAS)[:, None], torch.arange(policy.env.n), s]
    broken = f"probability_table of {name} is not probs"
    demand_equal(rows, policy.probs(s), broken, axes=AXES, tolerance=precision(policy.dtype))
    rest = torch.where(policy.env.action_mask, 0.0, table)
    broken = f"probability_table of {name} is not 0 where (s, a) is illegal"
    demand_equal(rest, 0.0, broken, axes=("replica", "agent", "state", "action"))


def _check_samples(policy: Policy) -> None:
    """Checks samples at random uniforms, at both ends, and exactly where the distribution function jumps."""
    s, a = random_pairs(policy.env, 60, REPLICAS, seed=4)
    u = torch.rand(s.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    probs = policy.probs(s).detach()
    cdf = probs.cumsum(dim=-1).double()
    jump = cdf.gather(-1, a[..., None]).squeeze(-1)
    last = probs.shape[-1] - 1 - (probs.flip(-1) > 0).long().argmax(dim=-1)
    ends = (torch.zeros_like(u), torch.full_like(u, ALMOST_ONE), torch.where(jump < 1.0, jump, 0.0))
    for where, x in zip(("at random", "at 0", "just below 1", "at a jump"), (u, *ends), strict=True):
        passed = cdf > x[..., None]
        expected = torch.where(passed.any(dim=-1), passed.long().argmax(dim=-1), last)
        broken = f"sample of {type(policy).__name__} is not the inverse CDF of a uniform {where}"
        demand_equal(policy.sample(s, x), expected, broken)
