"""A law that an environment states must be one, and samples must follow it."""

import math

import torch
from torch import Tensor

from marl.core.environment import NetworkedMDP
from marl.testing.demands import demand, demand_equal
from marl.testing.inputs import Inputs, random_inputs

CASES = 6
"""Pairs (s, a) at which samples are counted."""
REFUSED = 1e-9
"""Probability with which each of the three counts below refuses a right sampler."""


def check_law(env: NetworkedMDP, inputs: Inputs, draws: int) -> None:
    """Holds `transition` and `reward` against what a law is, and `step` against them. Errors: `ContractError`."""
    _check_numbers(env, inputs)
    _check_leading_axes(env, inputs)
    s, a, _ = random_inputs(env, CASES, 3)
    for k in range(CASES):
        u = torch.rand(draws, env.n, env.num_uniforms, dtype=torch.float64, generator=torch.Generator().manual_seed(k))
        next_s, r = env.step(s[k].repeat(draws, 1), a[k].repeat(draws, 1), u)
        where = f"{type(env).__name__} at s = {s[k].tolist()}, a = {a[k].tolist()}"
        _check_states(env, env.transition(s[k], a[k]), next_s, where)
        _check_rewards(env, env.reward(s[k], a[k]), r, where)


def _check_numbers(env: NetworkedMDP, inputs: Inputs) -> None:
    name, (s, a, _) = type(env).__name__, inputs
    law, mean, shape = env.transition(s, a), env.reward(s, a), (*inputs.s.shape, env.action_mask.shape[1])
    for what, found, wanted in ("transition", law, shape), ("reward", mean, s.shape):
        fits = found.shape == wanted and found.dtype == torch.float64
        demand(fits, f"{what} of {name} is {list(found.shape)} {found.dtype}, which must be {list(wanted)} float64")
    demand(bool(law.min() >= 0.0), f"transition of {name} has the probability {law.min().item()}, which must be at least 0")
    total = f"the probabilities of the next states of {name} do not sum to 1"
    demand_equal(law.sum(dim=-1), torch.ones(s.shape, dtype=law.dtype), total, axes=("row", "agent"), tolerance=1e-12)
    padding = law[:, torch.arange(law.shape[-1]) >= env.num_states[:, None]]
    demand(not bool(padding.any()), f"transition of {name} gives states that do not exist a probability; it must be 0")
    low, high = env.reward_range
    fits = bool(((mean >= low) & (mean <= high)).all())
    demand(fits, f"expected rewards of {name} leave its reward_range ({low}, {high})")


def _check_leading_axes(env: NetworkedMDP, inputs: Inputs) -> None:
    s, a, _ = inputs
    law, mean = env.transition(s, a), env.reward(s, a)
    for shape in ((), (1,), (1, 2)):
        rows = torch.arange(math.prod(shape)).reshape(shape)
        for what, found, wanted in (
            ("transition", env.transition(s[rows], a[rows]), law[rows]),
            ("reward", env.reward(s[rows], a[rows]), mean[rows]),
        ):
            broken = f"{what} of {type(env).__name__} is another one with {len(shape)} axes in front of the agents"
            demand(torch.equal(found, wanted), broken)


def _check_states(env: NetworkedMDP, law: Tensor, next_s: Tensor, where: str) -> None:
    """Checks frequencies of s_i', and of (s_i', s_j') against the product, by Bernstein's inequality."""
    draws, (n, states) = len(next_s), law.shape
    drawn = torch.nn.functional.one_hot(next_s, states).double().flatten(1)
    share, p = drawn.mean(dim=0), law.flatten()
    broken = f"next states of {where} do not follow `transition`"
    _demand_share(share.view(n, states), law, draws, broken, ("agent", "state"))
    apart = ~torch.eye(n, dtype=torch.bool).repeat_interleave(states, 0).repeat_interleave(states, 1)
    joint = torch.where(apart, drawn.T @ drawn / draws, 0.0).view(n, states, n, states)
    product = torch.where(apart, p[:, None] * p, 0.0).view(n, states, n, states)
    broken = f"next states of {where} are not independent over agents"
    _demand_share(joint, product, draws, broken, ("agent", "state", "agent", "state"))


def _demand_share(share: Tensor, p: Tensor, draws: int, broken: str, axes: tuple[str, ...]) -> None:
    level = math.log(2 * CASES * p.numel() / REFUSED)
    bound = (2 * p * (1 - p) * level / draws).sqrt() + 2 * level / (3 * draws)
    far = (share - p).abs() > torch.where(p > 0, bound, 0.0)
    demand_equal(torch.where(far, share, p), p, broken, axes=axes)


def _check_rewards(env: NetworkedMDP, mean: Tensor, r: Tensor, where: str) -> None:
    """Checks means of r_i, by Hoeffding's inequality."""
    low, high = env.reward_range
    bound = (high - low) * math.sqrt(math.log(2 * CASES * env.n / REFUSED) / (2 * len(r))) + 1e-12
    far = (r.mean(dim=0) - mean).abs() > bound
    broken = f"the mean of the rewards of {where} is not `reward`"
    demand_equal(torch.where(far, r.mean(dim=0), mean), mean, broken, axes=("agent",))
