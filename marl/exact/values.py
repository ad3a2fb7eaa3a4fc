"""J_i, V_i and Q_i(s, a) are computed here without a table over joint pairs.

`Values` is what the two settings share; `AverageValues` is the average reward, (2) and (3). The discounted setting, (12),
stands in `marl.exact.discounted`.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cached_property
from typing import final

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from marl.core.errors import ConfigError
from marl.core.shapes import Whole
from marl.core.whole import whole
from marl.exact import poisson
from marl.exact.chain import Chain

_CHUNK = 2**24


class Values(ABC):
    """This is what `AverageValues` and `DiscountedValues` share: J_i, V_i and Q_i of some or all agents of a chain.

    chain: the chain. agents: those of the columns C of every result. solution: what was solved for, and how exactly.
    Errors: `ConfigError` for `Values(...)` itself, which is neither of the two.
    """

    chain: Chain
    agents: list[int]
    solution: poisson.Solution

    def __new__(cls, *args: object, **kwargs: object) -> "Values":
        if cls is Values:
            raise ConfigError(
                "Values is only what both settings share; use AverageValues(chain) for the average reward or "
                "DiscountedValues(chain, gamma) for discounted rewards"
            )
        return super().__new__(cls)

    @property
    @abstractmethod
    def J(self) -> Float[Tensor, "C"]:  # noqa: N802  # the paper's name
        """J_i is the objective of agent i; the network's is the mean over all agents."""

    @property
    @abstractmethod
    def V(self) -> Float[Tensor, "X C"]:  # noqa: N802
        """V_i(s) is the value of every joint state, a(0) drawn from the policy."""

    @property
    @abstractmethod
    def state_weights(self) -> Float[Tensor, "X"]:
        """Returns how much every joint state counts in (5) and (7): the measure the gradient of the objective sums with."""

    @abstractmethod
    def q(self, s: Whole, a: Whole) -> Float[Tensor, "*M C"]:
        """Q_i(s, a) is the value of joint pairs. Errors: `ConfigError` at illegal pairs."""

    @abstractmethod
    def relative_q(self, s: Whole, a: Whole) -> Float[Tensor, "*M C"]:
        """Q_i up to a constant per agent is enough for differences. Errors: as `q`."""


@final
class AverageValues(Values):
    """This solves the Poisson equations (I - P_theta) V_i = r_theta,i - J_i 1, pi . V_i = 0, of some or all agents.

    `agents`: which (None = all); columns C of every result follow them. `solution` says how exact it is.
    Errors: `ConfigError` as `poisson.solve`, and for an agent that does not exist.
    """

    def __init__(self, chain: Chain, agents: Sequence[int] | None = None, tolerance: float = poisson.TOLERANCE):
        self.chain = chain
        self.agents = chain.laws.checked(agents)
        self.solution = poisson.solve(chain, chain.rewards(self.agents), tolerance)

    @property
    def J(self) -> Float[Tensor, "C"]:  # noqa: N802
        """J_i is E_pi r_i. The network's J is their mean over all agents."""
        return self.solution.J

    @cached_property
    def stationary(self) -> Float[Tensor, "X"]:
        """The stationary law pi of joint states is zero where a state is never visited in the long run."""
        return poisson.stationary(self.chain)

    @property
    def state_weights(self) -> Float[Tensor, "X"]:
        """The weights are the stationary law."""
        return self.stationary

    @cached_property
    def V(self) -> Float[Tensor, "X C"]:  # noqa: N802
        """V_i(s) is sum_t E[r_i(t) - J_i | s(0) = s], a(0) drawn from the policy."""
        return self.solution.V - self.stationary @ self.solution.V

    def q(self, s: Whole, a: Whole) -> Float[Tensor, "*M C"]:
        """Q_i(s, a) is E r_i(s, a) - J_i + sum_{s'} P(s'|s, a) V_i(s'). Errors: `ConfigError` at illegal pairs."""
        return self.relative_q(s, a) - self.stationary @ self.solution.V

    def relative_q(self, s: Whole, a: Whole) -> Float[Tensor, "*M C"]:
        """Q_i up to a constant per agent is enough for differences, and needs no stationary law. Errors: as `q`."""
        s, a = check_pairs(self.chain, s, a)
        env = self.chain.laws.env
        r = env.reward(s, a)[..., self.agents]
        return r - self.J + next_value(self.chain, self.solution.V.numpy(), s, a)


def next_value(
    chain: Chain, h: Float[np.ndarray, "X C"], s: Int64[Tensor, "*M n"], a: Int64[Tensor, "*M n"]
) -> Float[Tensor, "*M C"]:
    """Computes E[h(s') | s, a] = sum_{s'} prod_i P_i(s_i'|z_{N_i}) h(s'), one agent at a time."""
    flat_s, flat_a = s.reshape(-1, chain.n), a.reshape(-1, chain.n)
    rows = max(1, _CHUNK // h.size)
    parts = []
    for k in range(0, len(flat_s), rows):
        law = chain.laws.env.transition(flat_s[k : k + rows], flat_a[k : k + rows]).numpy()
        parts.append(folded([law[:, i, :states] for i, states in enumerate(chain.sizes)], h))
    return torch.from_numpy(np.concatenate(parts)).reshape(*s.shape[:-1], h.shape[1])


def folded(rows: list[Float[np.ndarray, "M _"]], h: Float[np.ndarray, "X C"]) -> Float[np.ndarray, "M C"]:
    """Sums h(s') prod_i rows_i(s_i') over s', one agent at a time: the mean of h where next states are independent."""
    left = rows[0] @ h.reshape(rows[0].shape[1], -1)
    for row in rows[1:]:
        left = np.matmul(row[:, None], left.reshape(len(row), row.shape[1], -1))[:, 0]
    return left


def check_pairs(chain: Chain, s: Whole, a: Whole) -> tuple[Tensor, Tensor]:
    """Returns (s, a) as int64. Errors: `ConfigError` if they are not legal pairs of all agents."""
    s, a = whole("states", s), whole("actions", a)
    if s.shape != a.shape or s.shape[-1:] != (chain.n,):
        raise ConfigError(
            f"joint pairs need one state and action for each of {chain.n} agents, got {list(s.shape)}, {list(a.shape)}"
        )
    mask = chain.env.action_mask
    inside = (s >= 0) & (s < mask.shape[1]) & (a >= 0) & (a < mask.shape[2])
    legal = mask[torch.arange(chain.n), s.clamp(0, mask.shape[1] - 1), a.clamp(0, mask.shape[2] - 1)] & inside
    if not legal.all():
        first = tuple((~legal).nonzero()[0].tolist())
        raise ConfigError(f"agent {first[-1]} cannot be in state {int(s[first])} and take action {int(a[first])}")
    return s, a
