"""Certificates of exponential decay bound the left side of (4) and need no simulation and no joint state.

They are for every policy of the own state at once, zeta_i(a_i | s_i); `neighborhood_certificate` is for one that sees more.

Two copies start from z and z' that differ outside N_i^kappa only. If e_i(t + 1) <= sum_j C_ij e_j(t) bounds the
probability that they differ at agent i, then (Lemma 4 of the paper, kept agent by agent)

    |Q_i(z) - Q_i(z')| <= sum_t gamma^t sum_{j in N_i} delta_j(r_i) [C^t 1_{-N_i^kappa}]_j,

delta_j(r_i) the variation of the expected reward in z_j; for private rewards its span, at j = i. It is finite if the
spectral radius of gamma C is below 1, which is weaker than Theorem 1's row sums. With discount gamma < 1 rewards after
time kappa change Q_i by at most span(r_i) gamma^(kappa + 1) / (1 - gamma), whatever the influence; the smaller one counts.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from marl.core.checks import integer, number
from marl.core.environment import NetworkedMDP
from marl.core.network import Network
from marl.exact.influence import Influence, tails
from marl.exact.interaction import NeighborMatrix, interaction_matrix, reward_variation
from marl.exact.local_laws import LocalLaws


class Certificate(NamedTuple):
    """This says what can be promised about the decay of influence.

    reason: what the promise rests on, or why there is none. bounds [K, C]: for kappa = 0..K-1 and every asked agent a
    number that the left side of (4) cannot exceed; None where nothing is promised. agents: those of the columns.
    row_sum: the largest row sum of gamma C; radius: an upper bound on its spectral radius. rate, constant: (rho, c) of
    Theorem 1 (Corollary 1 if gamma < 1), c = largest span / (1 - rho), where row sums below 1 and private rewards allow.
    """

    reason: str
    bounds: Float[Tensor, "K C"] | None
    agents: list[int]
    row_sum: float
    radius: float
    rate: float | None = None
    constant: float | None = None

    @property
    def certified(self) -> bool:
        """Says whether anything is promised."""
        return self.bounds is not None

    def kappa_for(self, accuracy: float) -> int | None:
        """Finds the smallest kappa whose bounds are all at most `accuracy`, or None."""
        if self.bounds is None:
            return None
        enough = (self.bounds.amax(dim=1) <= accuracy).nonzero()
        return int(enough[0]) if len(enough) else None


def certificate(
    laws: LocalLaws, agents: Sequence[int] | None = None, *, kappas: int | None = None, gamma: float = 1.0, form: str = "z"
) -> Certificate:
    """Promises for every policy at once, by Theorem 1, Lemma 4 and, with gamma < 1, Corollary 1, how influence decays.

    Every policy zeta_i(a_i | s_i) of the own state, that is; for one that sees neighbors use `neighborhood_certificate`.
    agents: which (None = all); kappas: how many radii (None = up to where the whole network is inside). form: see
    `interaction_matrix`. Errors: `ConfigError`, also for the paper's form where it does not apply.
    """
    gamma = number("gamma", gamma, 0.0, 1.0)
    matrix = interaction_matrix(laws, form)
    scaled = NeighborMatrix(gamma * matrix.entries, matrix.neighborhood)
    influence, row_sum = Influence(scaled), float(scaled.row_sums().max())
    agents = laws.checked(agents)
    kappas = radii(laws.env.network, agents) if kappas is None else integer("kappas", kappas, 1)
    nothing = Certificate("", None, agents, row_sum, influence.radius)
    change = reward_variation(laws).transposed()
    bounds = tails(laws.env.network, influence, change.__matmul__, agents, kappas) if influence.finite else None
    if gamma < 1.0:
        by_discounting = discounted(laws.env, [float(np.ptp(table)) for table in laws.reward], agents, kappas, gamma)
        bounds = by_discounting if bounds is None else torch.minimum(bounds, by_discounting)
    if bounds is None:
        return nothing._replace(reason=_why_not(scaled, influence.radius, gamma))
    if row_sum < 1.0 and laws.env.private_rewards:
        spans = max(float(np.ptp(table)) for table in laws.reward)
        reason = f"every row sum of {_name(gamma)} is at most {rounded_up(row_sum)} < 1"
        return nothing._replace(reason=reason, bounds=bounds, rate=row_sum, constant=spans / (1.0 - row_sum))
    if influence.finite:
        reason = f"the spectral radius of {_name(gamma)} is at most {rounded_up(influence.radius)} < 1"
        return nothing._replace(reason=reason, bounds=bounds)
    return nothing._replace(reason=f"discounting alone: gamma = {gamma!r}", bounds=bounds)


def radii(network: Network, agents: Sequence[int]) -> int:
    """Returns 1 + the largest eccentricity of the agents: at the last kappa nobody is outside."""
    return 1 + max(int(network.distances(i).max()) for i in agents)


def rounded_up(x: float) -> str:
    """Writes a bound in few digits that is still a bound, and below 1 if x is."""
    for digits in range(3, 10):
        up = math.ceil(x * 10**digits) / 10**digits
        if x >= 1.0 or up < 1.0:
            break
    return f"{up:.{digits}f}"


def _name(gamma: float) -> str:
    return "the interaction matrix C" if gamma == 1.0 else f"{gamma:g} C"


def _why_not(matrix: NeighborMatrix, radius: float, gamma: float) -> str:
    sums = matrix.row_sums()
    worst = int(sums.argmax())
    own = float(matrix.entries[worst][matrix.neighborhood.index[worst].numpy() == worst].max())
    why = f"the spectral radius of {_name(gamma)} could not be shown to be below 1 (at most {rounded_up(radius)}); "
    why += f"agent {worst} has row sum {float(sums[worst]):.3g}, {own:.3g} of it its own"
    return why + (": two of its pairs have no next state in common" if own >= gamma else "")


def discounted(
    env: NetworkedMDP, spans: Sequence[float], agents: Sequence[int], kappas: int, gamma: float, hops: int | None = 0
) -> Float[Tensor, "K C"]:
    """Bounds what rewards from the first possible difference on can change Q_i by: span(r_i) gamma^t / (1 - gamma).

    r_i(0) depends on z within d hops of i, d = 0 if rewards are private, else 1; r_i(1) within d + hops + 1, and each later
    step adds max(1, hops) to that, or 1 + hops where actions are shared. t is the first time that this exceeds kappa: of
    own-state policies kappa + 1 - d. It is 0 where nobody who can be reached is outside.
    """
    bounds = torch.zeros(kappas, len(agents), dtype=torch.float64)
    hops = env.n - 1 if hops is None else hops
    direct = 0 if env.private_rewards else 1
    step = max(1, hops) if env.private_actions else 1 + hops
    for c, i in enumerate(agents):
        reach = int(env.network.distances(i).max())
        kappa = torch.arange(min(reach, kappas))
        time = 1 + (kappa - direct - hops - 1).div(step, rounding_mode="floor").add(1).clamp(min=0)
        time[kappa < direct] = 0
        bounds[: len(kappa), c] = spans[i] * gamma ** time.double() / (1.0 - gamma)
    return bounds
