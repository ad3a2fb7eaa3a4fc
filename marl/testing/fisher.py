"""A natural gradient must solve the system of the Fisher information."""

from typing import Any

import torch

from marl.testing.demands import demand_equal, precision
from marl.testing.inputs import random_pairs

STEPS = 4
DAMPING = 0.1


def check_natural_gradient(policy: Any) -> None:
    """Holds `policy.natural_gradient` against (F + damping I)^-1 grad, F written out for every replica.

    F = mean over the steps of sum_i E_a[score_i score_i^T], score_i = grad log zeta_i(a | s): agents act independently.
    Errors: `ContractError`.
    """
    env, learned = policy.env, [parameter for parameter in policy.parameters() if parameter.requires_grad]
    s, _ = random_pairs(env, STEPS, policy.replicas, seed=11)
    draw = torch.Generator().manual_seed(12)
    given = [torch.randn(parameter.shape, generator=draw, dtype=torch.float64).to(parameter) for parameter in learned]
    for parameter, gradient in zip(learned, given, strict=True):
        parameter.grad = gradient.clone()
    policy.natural_gradient(s, DAMPING)
    found = torch.cat([parameter.grad.flatten(1) for parameter in learned], dim=1)
    before = torch.cat([gradient.flatten(1) for gradient in given], dim=1)
    fisher = torch.zeros(policy.replicas, found.shape[1], found.shape[1], dtype=found.dtype)
    log_probs = policy.log_probs(s)
    legal = (env.index.choices(s) >= 0).any(dim=(0, 1))  # somewhere
    for k in range(STEPS):
        for i, action in legal.nonzero().tolist():
            taken = log_probs[k, :, i, action]
            real = taken.isfinite()  # replicas in which the action is legal
            parts = torch.autograd.grad(taken[real].sum(), learned, retain_graph=True)
            score = torch.cat([part.flatten(1) for part in parts], dim=1)
            weight = torch.where(real, taken.exp(), 0.0).detach() / STEPS
            fisher += weight[:, None, None] * score[:, :, None] * score[:, None, :]
    expected = torch.linalg.solve(fisher + DAMPING * torch.eye(found.shape[1], dtype=found.dtype), before)
    broken = f"natural_gradient of {type(policy).__name__} does not solve (F + damping I) x = grad"
    demand_equal(found, expected, broken, axes=("replica", "entry"), tolerance=100 * precision(policy.dtype))
    policy.zero_grad()
