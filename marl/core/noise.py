"""Random numbers are a pure function of (seed, purpose, time, agent): nothing to store, nothing to advance.

Replica b of a run with seed s reads the stream of seed s + b, so a batched run equals its solo runs, a resumed run
equals an uninterrupted one, and evaluation cannot disturb training. The generator is SplitMix64 (Steele, Lea and
Flood 2014) used as a counter: output c of a stream with key K is mix(K + c * golden). Keys come from NumPy's
SeedSequence. Two streams of length L share outputs with probability about 2 L / 2^64.
"""

from enum import IntEnum

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from marl.core.checks import integer

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_BLOCK = 1 << 18


class Purpose(IntEnum):
    """A purpose says what a stream is for; streams of different purposes never share numbers."""

    TRAINING = 0
    EVALUATION = 1
    POLICY_INIT = 2
    CRITIC_INIT = 3
    EPISODE = 4
    SHUFFLE = 5
    MODEL = 6


def stream_keys(seed: int, replicas: int, purpose: Purpose, copies: int = 1) -> np.ndarray:
    """Returns uint64 [copies * B]: the key of the stream of seed + b for b = 0..B-1, then those of further copies."""
    seed = integer("seed", seed, 0)
    replicas = integer("replicas", replicas, 1)
    keys = []
    for copy in range(copies):
        own = (copy,) if copy else ()
        for b in range(replicas):
            source = np.random.SeedSequence([int(purpose), seed + b], spawn_key=own)
            keys.append(source.generate_state(1, np.uint64))
    return np.concatenate(keys)


def uniforms(keys: np.ndarray, first: int, count: int) -> np.ndarray:
    """Returns float64 [B, count], outputs number first .. first+count-1 of every stream, in [0, 1), 53 bits each."""
    with np.errstate(over="ignore"):
        x = keys[:, None] + (np.arange(first, first + count).astype(np.uint64)) * _GOLDEN
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
    return (x >> np.uint64(11)).astype(np.float64) * 2.0**-53


class Noise:
    """These are the uniforms of a run: `noise(t)` is [B, n, width]; entry (agent i, k) is output (t*n + i)*width + k.

    copies: streams of every replica, [copies * B, n, width], the first of all replicas first.
    Times are whole numbers from 0. A block of times is computed at once and kept until another is asked for.
    """

    def __init__(self, seed: int, replicas: int, agents: int, width: int, purpose: Purpose, copies: int = 1):
        self.agents, self.width = agents, width
        self.keys = stream_keys(seed, replicas, purpose, copies)
        self._times = max(1, _BLOCK // (len(self.keys) * agents * width))
        self._first = -1
        self._block = torch.empty(0)

    def __call__(self, t: int) -> Float[Tensor, "B n U"]:
        first = t - t % self._times
        if first != self._first:
            per_time = self.agents * self.width
            drawn = uniforms(self.keys, first * per_time, self._times * per_time)
            shaped = drawn.reshape(len(self.keys), self._times, self.agents, self.width)
            self._block = torch.from_numpy(np.ascontiguousarray(shaped.swapaxes(0, 1)))
            self._first = first
        return self._block[t - first]


class Initializer:
    """Draws the starting parameters of all replicas, each replica from its own stream."""

    def __init__(self, seed: int, replicas: int, dtype: torch.dtype, purpose: Purpose):
        self.replicas, self.dtype = replicas, dtype
        self._keys = stream_keys(seed, replicas, purpose)
        self._drawn = 0

    def zeros(self, *shape: int) -> nn.Parameter:
        """Makes a parameter [B, *shape] of zeros."""
        return nn.Parameter(torch.zeros(self.replicas, *shape, dtype=self.dtype))

    def uniform(self, *shape: int, bound: float) -> nn.Parameter:
        """Draws a parameter [B, *shape], uniform in [-bound, bound)."""
        count = int(np.prod(shape))
        drawn = torch.from_numpy(uniforms(self._keys, self._drawn, count)).reshape(self.replicas, *shape)
        self._drawn += count
        return nn.Parameter(((2.0 * drawn - 1.0) * bound).to(self.dtype))
