"""A trainer of episodes keeps the pairs of the one under way, and discounted returns."""

import torch
from torch import Tensor

from marl.core.shapes import Actions, PerReplica, Rewards, States
from marl.core.snapshot import snapshot


class Episode:
    """This keeps the pairs so far, and sums of discounted rewards, each the mean over agents of sum_t gamma^t r_i(t).

    weight: gamma^t, t = 0..T-1. running: the return so far. ended: the sum of the returns of the episodes that ended since
    the last log point. latest: the mean return at the newest log point that came after the end of any.
    Shapes: weight [T], s, a [T, B, n] (the first t mod T pairs are of this episode, the rest means nothing), running,
    ended, latest [B].
    """

    def __init__(self, horizon: int, discount: float, replicas: int, agents: int):
        self.weight = discount ** torch.arange(horizon, dtype=torch.float64)
        self.s = torch.zeros(horizon, replicas, agents, dtype=torch.int64)
        self.a = torch.zeros(horizon, replicas, agents, dtype=torch.int64)
        self.running = torch.zeros(replicas, dtype=torch.float64)
        self.ended = torch.zeros(replicas, dtype=torch.float64)
        self.latest = torch.zeros(replicas, dtype=torch.float64)

    def add(self, t: int, s: States, a: Actions, r: Rewards) -> None:
        """Adds step t = 0..T-1 of the episode: z(t) and r(t), all [B, n]."""
        self.s[t], self.a[t] = s, a
        self.running += self.weight[t] * r.mean(dim=1)
        if t + 1 == len(self.weight):
            self.ended += self.running
            self.running.zero_()

    def mean_return(self, t: int, steps: int) -> PerReplica:
        """Averages the returns of the episodes that ended within the last `steps` of t steps, the log interval, [B].

        Where none did, it is `latest`; before the first has ended, the return so far. So every log point has a number.
        """
        horizon = len(self.weight)
        count = t // horizon - (t - steps) // horizon
        if count:
            return self.ended / count
        return (self.latest if t >= horizon else self.running).clone()

    def state_dict(self) -> dict[str, Tensor]:
        """Returns a snapshot of all of it, as tensors."""
        return snapshot(dict(vars(self)))

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Goes on from there."""
        vars(self).update({name: tensor.clone() for name, tensor in state.items()})
