"""A rule of one's own: nothing is learned."""

from flu import Flu
from torch import Tensor

from marl import DeterministicRule


class KeepAway(DeterministicRule):
    """An agent shields itself iff it is healthy and at least `sick` neighbors are infected."""

    system, hops = Flu, 1

    def __init__(self, env: Flu, *, sick: int = 1, **run):  # type: ignore[no-untyped-def]
        super().__init__(env, **run)
        self._sick, (index, mask, _) = sick, env.network.neighborhood(1)
        self.register_buffer("_near", index, persistent=False)
        self.register_buffer("_counts", mask, persistent=False)

    def _choose(self, s: Tensor) -> Tensor:
        infected = (s[..., self._near] * self._counts).sum(dim=-1)  # oneself does not count: only who is healthy asks
        return ((s == 0) & (infected >= self._sick)).long()
