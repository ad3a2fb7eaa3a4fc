"""The buffer holds the rollout that is being filled."""

from typing import Any

import torch

from marl.core.snapshot import snapshot
from marl.trainers.rollout import Rollout


class RolloutBuffer:
    """This class fills a rollout of K steps in pieces of any length. Shapes: see `Rollout`."""

    def __init__(self, length: int, replicas: int, agents: int):
        self.length, self.filled = length, 0
        self.rollout = Rollout(
            s=torch.zeros(length + 1, replicas, agents, dtype=torch.int64),
            a=torch.zeros(length + 1, replicas, agents, dtype=torch.int64),
            r=torch.zeros(length, replicas, agents, dtype=torch.float64),
        )

    @property
    def missing(self) -> int:
        """Counts the steps until it is full."""
        return self.length - self.filled

    def add(self, piece: Rollout) -> None:
        """Appends steps, at most `missing`."""
        first, end = self.filled, self.filled + len(piece.r)
        self.rollout.s[first : end + 1], self.rollout.a[first : end + 1] = piece.s, piece.a
        self.rollout.r[first:end] = piece.r
        self.filled = end

    def state_dict(self) -> dict[str, Any]:
        """Gives a snapshot of what has been filled so far."""
        return snapshot({"filled": self.filled, **self.rollout._asdict()})

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken. Errors: ValueError if it is of another length."""
        if state["r"].shape != self.rollout.r.shape:
            raise ValueError(f"the saved rollout has {len(state['r'])} steps, this run's have {self.length}")
        self.filled = state["filled"]
        for name, part in self.rollout._asdict().items():
            part.copy_(state[name])
