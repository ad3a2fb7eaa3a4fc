"""Rollouts that are kept: the one being filled, and past ones to learn from again."""

from typing import Any

import torch

from marl.core.noise import Purpose, stream_keys, uniforms
from marl.trainers.rollout import Rollout


class RolloutBuffer:
    """The rollout of K steps that is being filled, in pieces of any length. Shapes: see `Rollout`."""

    def __init__(self, length: int, replicas: int, agents: int):
        self.length, self.filled = length, 0
        self.rollout = Rollout(
            s=torch.zeros(length + 1, replicas, agents, dtype=torch.int64),
            a=torch.zeros(length + 1, replicas, agents, dtype=torch.int64),
            r=torch.zeros(length, replicas, agents, dtype=torch.float64),
        )

    @property
    def missing(self) -> int:
        """Steps until it is full."""
        return self.length - self.filled

    def add(self, piece: Rollout) -> None:
        """Appends steps, at most `missing`."""
        first, end = self.filled, self.filled + len(piece.r)
        self.rollout.s[first : end + 1], self.rollout.a[first : end + 1] = piece.s, piece.a
        self.rollout.r[first:end] = piece.r
        self.filled = end

    def state_dict(self) -> dict[str, Any]:
        """What has been filled so far."""
        return {"filled": self.filled, **self.rollout._asdict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Errors: ValueError if it is of another length."""
        if state["r"].shape != self.rollout.r.shape:
            raise ValueError(f"the saved rollout has {len(state['r'])} steps, this run's have {self.length}")
        self.filled = state["filled"]
        for name, held in self.rollout._asdict().items():
            held.copy_(state[name])


class Replay:
    """The last `capacity` rollouts, from which every replica draws one with the noise of its own seed."""

    def __init__(self, capacity: int, length: int, seed: int, replicas: int, agents: int):
        self.count = 0
        self._keys = stream_keys(seed, replicas, Purpose.REPLAY)
        self._kept = [RolloutBuffer(length, replicas, agents).rollout for _ in range(capacity)]

    def add(self, rollout: Rollout) -> None:
        """Keeps a copy, in place of the oldest if there is no room."""
        for held, new in zip(self._kept[self.count % len(self._kept)], rollout, strict=True):
            held.copy_(new)
        self.count += 1

    def draw(self) -> Rollout:
        """For every replica one of the rollouts that are kept, all equally likely; the same until the next `add`."""
        held = min(self.count, len(self._kept))
        chosen = (uniforms(self._keys, self.count, 1)[:, 0] * held).astype(int).tolist()
        drawn = [[part[:, b] for part in self._kept[k]] for b, k in enumerate(chosen)]
        return Rollout(*(torch.stack(parts, dim=1) for parts in zip(*drawn, strict=True)))

    def state_dict(self) -> dict[str, Any]:
        """All that is kept."""
        return {"count": self.count, "kept": [kept._asdict() for kept in self._kept]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Errors: ValueError if it has another capacity."""
        if len(state["kept"]) != len(self._kept):
            raise ValueError(f"the saved run keeps {len(state['kept'])} rollouts, this one {len(self._kept)}")
        self.count = state["count"]
        for held, saved in zip(self._kept, state["kept"], strict=True):
            for name, part in held._asdict().items():
                part.copy_(saved[name])
