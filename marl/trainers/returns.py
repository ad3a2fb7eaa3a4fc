"""What the TD errors of a rollout aim at: n-step and lambda returns."""

import torch
from torch import Tensor


def n_step_returns(reward: Tensor, following: Tensor, discount: float, steps: int) -> Tensor:
    """G_t = sum_{l < L} discount^l reward_{t+l} + discount^L Q(z(t+L)), L = min(steps, what is left of the rollout).

    reward: r - mu in the average-reward setting. following: Q(z(t+1)) for every t. steps = 1 is the target of line 6.
    Shapes: reward, following [K, B, n] -> [K, B, n].
    """
    length = len(reward)
    target = torch.empty_like(following)
    for t in range(length):
        end = min(t + steps, length)
        target[t] = following[end - 1]
        for k in reversed(range(t, end)):
            target[t] = reward[k] + discount * target[t]
    return target


def lambda_returns(reward: Tensor, following: Tensor, discount: float, decay: float) -> Tensor:
    """G_t = reward_t + discount ((1 - decay) Q(z(t+1)) + decay G_{t+1}), G_K = Q(z(K)): TD(lambda), cut at the end.

    decay: lambda; 0 is the target of line 6. Shapes: reward, following [K, B, n] -> [K, B, n].
    """
    target = reward + discount * (1.0 - decay) * following
    later = following[-1]
    for t in reversed(range(len(reward) if decay else 0)):
        later = target[t].add_(later, alpha=discount * decay)
    return target
