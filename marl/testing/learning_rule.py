"""Trainers take from a critic its loss, its estimate of rewards, advantages, and values of actions not taken."""

from typing import Any

import torch
from torch import Tensor

from marl.core.critic import Critic, Transition
from marl.core.objective import Average, Discounted
from marl.testing.demands import demand, demand_equal, precision
from marl.testing.inputs import random_transition
from marl.testing.learning import REPLICAS


def check_learning_rule(critic: Critic) -> None:
    """Holds `loss`, `track_reward` and `advantage` against their definitions. Errors: `ContractError`."""
    _check_loss(critic)
    _check_reward_estimate(critic)
    _check_advantage(critic)


def _check_loss(critic: Critic) -> None:
    """Checks that the loss is sum_i delta_i^2 / 2 of either objective, differentiated in the present values alone."""
    steps = [random_transition(critic.env, REPLICAS, k) for k in range(4)]
    step = Transition(*(torch.stack(parts) for parts in zip(*steps, strict=True)))
    kept, mu = critic.objective, random_transition(critic.env, REPLICAS, 9).r.to(critic.dtype)
    for goal in (Average(REPLICAS, critic.env.n, critic.dtype), Discounted(0.7)):
        if isinstance(goal, Average):
            goal.mu.copy_(mu)
        critic.objective, name = goal, f"loss of {type(critic).__name__} ({type(goal).__name__})"
        q = critic.q(step.s, step.a).detach().requires_grad_()
        loss, subtracted = critic.loss(q, step), mu if isinstance(goal, Average) else torch.zeros_like(mu)
        delta = step.r.to(critic.dtype) - subtracted + goal.gamma * critic.q(step.next_s, step.next_a).detach() - q.detach()
        tolerance, total = precision(critic.dtype), delta.square().sum(dim=-1) / 2
        demand_equal(loss, total, f"the {name} is not sum_i delta_i^2 / 2", axes=("replica",), tolerance=tolerance)
        learned = [parameter for parameter in critic.parameters() if parameter.requires_grad]
        found, *rest = torch.autograd.grad(loss.sum(), [q, *learned], allow_unused=True)
        demand_equal(found, -delta, f"the derivative of the {name} by q is not -delta", tolerance=tolerance)
        demand(all(x is None for x in rest), f"the {name} is differentiated in more than the present values q")
    critic.objective = kept


def _check_reward_estimate(critic: Critic) -> None:
    if not isinstance(critic.objective, Average):
        return
    mu, alpha = critic.mu.clone(), 0.3
    r = random_transition(critic.env, REPLICAS, 4).r
    critic.track_reward(r, alpha)
    expected = (1 - alpha) * mu + alpha * r.to(critic.dtype)
    broken = f"track_reward of {type(critic).__name__} is not line 5"
    demand_equal(critic.mu, expected, broken, tolerance=precision(critic.dtype))


def _check_advantage(critic: Critic) -> None:
    n, (index, mask, _) = critic.env.n, critic.env.network.neighborhood(critic.kappa)
    q = torch.randn(2, REPLICAS, n, generator=torch.Generator().manual_seed(3), dtype=torch.float64).to(critic.dtype)
    found = critic.advantage(q.requires_grad_())
    expected = torch.stack([q[..., index[i, mask[i]]].sum(dim=-1) / n for i in range(n)], dim=-1)
    broken = f"advantage of {type(critic).__name__} is not (1/n) sum of q over N_i^kappa"
    demand_equal(found, expected, broken, tolerance=precision(critic.dtype))
    demand(not found.requires_grad, f"advantage of {type(critic).__name__} must be detached")


def check_counterfactual(critic: Any, s: Tensor, a: Tensor) -> None:
    """Checks against one evaluation per agent and action, up to what does not depend on the action."""
    found, name = critic.counterfactual(s, a), f"counterfactual of {type(critic).__name__}"
    shape = (*s.shape, critic.env.action_mask.shape[2])
    demand(found.shape == shape, f"{name} is {list(found.shape)}, which must be {list(shape)}")
    demand(not found.requires_grad, f"{name} must be detached")
    legal = critic.env.index.choices(s) >= 0
    expected = torch.zeros_like(found)
    for i in range(critic.env.n):
        for action in range(shape[-1]):
            other = a.clone()
            other[..., i] = torch.where(legal[..., i, action], action, a[..., i])
            expected[..., i, action] = critic.advantage(critic.q(s, other))[..., i]
    broken = f"{name} is not what q says of the other actions, up to a number for all of them"
    demand_equal(
        _centered(found, legal),
        _centered(expected, legal),
        broken,
        axes=("replica", "agent", "action"),
        tolerance=precision(critic.dtype),
    )


def _centered(values: Tensor, legal: Tensor) -> Tensor:
    kept = torch.where(legal, values, 0.0)
    return torch.where(legal, values - kept.sum(dim=-1, keepdim=True) / legal.sum(dim=-1, keepdim=True), 0.0)
