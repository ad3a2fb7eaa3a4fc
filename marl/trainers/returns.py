"""Lambda returns are what the TD errors of a rollout aim at."""

from torch import Tensor


def lambda_returns(reward: Tensor, following: Tensor, discount: float, decay: float) -> Tensor:
    """Computes G_t = reward_t + discount ((1 - decay) Q(z(t+1)) + decay G_{t+1}), G_K = Q(z(K)): TD(lambda), cut at K.

    reward: r - mu where the reward is averaged. following: Q(z(t+1)) for every t. decay: lambda; 0 is the target of line 6.
    Shapes: reward, following [K, B, n] -> [K, B, n].
    """
    target = reward + discount * (1.0 - decay) * following
    later = following[-1]
    for t in reversed(range(len(reward) if decay else 0)):
        later = target[t].add_(later, alpha=discount * decay)
    return target
