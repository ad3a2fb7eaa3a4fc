"""Rules by which links on a conflict graph are known to take turns are policies here; nothing in them is learned."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from marl.core.checks import number
from marl.core.environment import Environment
from marl.core.lookup import over_neighbors
from marl.core.rule import DeterministicRule, Rule
from marl.envs.per_agent import probabilities
from marl.envs.scheduling.env import Scheduling
from marl.envs.scheduling.limits import maximal_independent_sets

_PARTS = 2**32
"""Success probabilities are weighed in whole parts of so many: sums of whole numbers have no rounding, so ties are ties."""


class SlottedAloha(Rule):
    """This is slotted ALOHA (Roberts 1975): a link with packets sends with probability x, whatever else it knows.

    send_probability: x, one for all replicas or one per replica: `evaluate` with 20 replicas finds the best of 20 in one
    rollout. Errors: `ConfigError` if the environment is no `Scheduling`.
    """

    system = Scheduling
    env: Scheduling
    _send: Tensor

    def __init__(self, env: Environment, *, send_probability: float | Sequence[float] = 0.5, **run: Any):
        super().__init__(env, **run)
        x = torch.from_numpy(probabilities("policy.send_probability", send_probability, self.replicas, "replica"))
        self.register_buffer("_send", x.to(self.dtype)[:, None], persistent=False)

    @classmethod
    def choices(cls, env: Environment) -> Mapping[str, Sequence[float]]:
        """The best of 20 send probabilities is the benchmark."""
        return {"send_probability": [k / 20 for k in range(1, 21)]}

    def _weights(self, s: Tensor) -> Tensor:
        send = self._send * (s > 0)
        return torch.stack([1.0 - send, send], dim=-1)


class QueueBasedAccess(Rule):
    """This is random access with the activation probabilities of Q-CSMA, but without its memory of the last schedule.

    A link with packets sends with probability exp(w_i) / (1 + exp(w_i)), w_i = weight * s_i + offset. In Q-CSMA (Ni, Tan,
    Srikant 2012) a link does so only if no neighbor was active a slot ago, so that nobody collides; a policy knows the
    queues of now alone and draws links independently, so here they do.
    weight, offset: any numbers. Errors: `ConfigError` if the environment is no `Scheduling`.
    """

    system = Scheduling
    env: Scheduling

    def __init__(self, env: Environment, *, weight: float = 0.5, offset: float = -2.0, **run: Any):
        super().__init__(env, **run)
        self.weight, self.offset = number("policy.weight", weight), number("policy.offset", offset)

    def _weights(self, s: Tensor) -> Tensor:
        w = self.weight * s.double() + self.offset  # in float32 a large weight is inf, and inf * 0 no number
        return torch.stack([torch.sigmoid(-w), torch.sigmoid(w)], dim=-1)


class _ByQueues(DeterministicRule):
    """This is the base class of rules in which the longer queue of two neighbors goes first, the lower link at ties."""

    system = Scheduling
    env: Scheduling
    _ends: Tensor

    def __init__(self, env: Environment, **run: Any):
        super().__init__(env, **run)
        self.register_buffer("_ends", self.env.ends, persistent=False)

    def _ahead(self, s: Tensor, among: Tensor) -> Tensor:
        """Tells which links of those `among` come before all their neighbors that are. Shapes: [*K, B, n] each."""
        first, second = self._ends
        both, first_wins = among[..., first] & among[..., second], s[..., first] >= s[..., second]
        beaten = torch.zeros_like(s)
        beaten.index_add_(-1, first, (both & ~first_wins).long()).index_add_(-1, second, (both & first_wins).long())
        return among & (beaten == 0)


class LocalLongestQueueFirst(_ByQueues):
    """A link sends if its queue is not empty and longer than those of all its neighbors; of two equal ones the lower link.

    It is what longest queue first does in its first round: nobody collides, each link needs to know no more than its
    neighbors' queues, and a link that is beaten by one that is beaten itself stays idle in vain.
    Errors: `ConfigError` if the environment is no `Scheduling`.
    """

    hops = 1

    def _choose(self, s: Tensor) -> Tensor:
        return self._ahead(s, s > 0).long()


class LongestQueueFirst(_ByQueues):
    """This is longest queue first, also greedy maximal scheduling (Dimakis and Walrand 2006): a schedule made at one place.

    Links with packets are taken in the order of their queues, longest first, the lower link at ties, each unless it
    conflicts with one taken before. All links that come before their neighbors are taken at once, in as many rounds as the
    longest chain of neighbors in falling order asks for (n / 2 on a line of equal queues).
    Errors: `ConfigError` if the environment is no `Scheduling`.
    """

    hops = None

    def _choose(self, s: Tensor) -> Tensor:
        open_, taken = s > 0, torch.zeros_like(s)
        while open_.any():
            taken += self._ahead(s, open_)
            open_ = open_ & (taken == 0) & (over_neighbors(self._ends, taken) == 0)
        return taken


class MaxWeight(DeterministicRule):
    """This is the max-weight schedule (Tassiulas and Ephremides 1992): of all independent sets, the largest sum of q_i s_i.

    All maximal independent sets are listed once and weighed in every state, so it is exact; q_i is rounded to 2^-32. At
    ties it is the set whose links come first in lexicographic order; links with empty queues are idle. It knows q.
    Errors: `ConfigError` if the environment is no `Scheduling` or has more than 30 links.
    """

    hops = None
    system = Scheduling
    env: Scheduling
    _success: Tensor
    _sets: Tensor

    def __init__(self, env: Environment, **run: Any):
        super().__init__(env, **run)
        sets = torch.from_numpy(maximal_independent_sets(self.env.network)).long()
        self.register_buffer("_success", (self.env.success * _PARTS).round().long(), persistent=False)
        self.register_buffer("_sets", sets, persistent=False)

    def _choose(self, s: Tensor) -> Tensor:
        heaviest = (self._success * s @ self._sets.T).argmax(dim=-1)
        return self._sets[heaviest] * (s > 0)
