"""A survey says all that can be said of a network and a policy: promises, measurements, and why one is missing."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from marl.core.checks import integer, number
from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.policy import Policy
from marl.core.together import check_together
from marl.exact.certificate import Certificate, certificate, discounted, radii
from marl.exact.chain import Chain
from marl.exact.coupling import coupling_certificate
from marl.exact.decay import sampled_decay, worst_decay
from marl.exact.ergodicity import Ergodicity, ergodicity
from marl.exact.interaction import least_interaction
from marl.exact.local_laws import LocalLaws, TooManyPairsError
from marl.exact.neighborhood_certificate import neighborhood_certificate
from marl.exact.policy_tables import policy_tables
from marl.exact.truncation import JointPairs
from marl.exact.values import AverageValues

FEW_PAIRS = 2**14
"""Joint pairs up to which the left side of (4) is measured at all of them."""
FEW_STATES = 2**14
"""Joint states beyond which only the first agent is measured, unless agents are named."""

Found = TypeVar("Found")


@dataclass
class Measured:
    """This holds left sides of (4) under one policy.

    agents: which. largest [K, C]: for kappa = 0..K-1 and every agent the largest seen. samples: at how many random
    (z, z') each, 0 = at all. curves [C, M, K]: the samples, None if at all.
    """

    agents: list[int]
    largest: Float[Tensor, "K C"]
    samples: int
    curves: Float[Tensor, "C M K"] | None

    def kappa_for(self, accuracy: float) -> int:
        """Finds the smallest kappa from which on no measured left side exceeds `accuracy`."""
        above = (self.largest.amax(dim=1) > accuracy).nonzero()
        return int(above[-1]) + 1 if len(above) else 0


@dataclass
class Survey:
    """This holds each result, or the sentence that says why there is none.

    one_step: for every policy of the own state (`certificate`); where the surveyed policy sees more, for that policy alone
    (`neighborhood_certificate`), and then `coupling` is a sentence.
    """

    one_step: Certificate | str
    coupling: Certificate | str
    measured: Measured | str
    mixing: Ergodicity | str


def survey(
    env: NetworkedMDP,
    policy: Policy,
    *,
    gamma: float = 1.0,
    agents: Sequence[int] | None = None,
    horizon: int = 2,
    samples: int = 200,
    seed: int = 0,
    memory: float = 4.0,
) -> Survey:
    """Collects certificates for every policy and, from blocks of up to `horizon` steps, for this one; decay; mixing.

    A policy that sees neighbors has a certificate of its own in place of the first.

    Errors: `ConfigError` for an argument out of range, an environment that does not state its law, or a policy that was
    made for another network, other sizes or other legal actions than `env` has.
    """
    gamma, horizon = number("gamma", gamma, 0.0, 1.0), integer("horizon", horizon, 0)
    samples, memory = integer("samples", samples, 1), number("memory", memory, 0.0)
    check_together(env, policy)
    try:
        laws = LocalLaws(env)
    except TooManyPairsError as error:
        same = "the laws cannot be listed (see the first line)"
        return Survey(_without_tables(env, policy, gamma, agents, str(error)), same, same, same)
    wanted = laws.checked(agents)
    one_step = _one_step(laws, policy, wanted, gamma)
    if gamma < 1.0:
        average = "only the average reward (gamma = 1) is measured"
        return Survey(one_step, "it exists only for the average reward (gamma = 1)", average, average)
    coupling = _attempt(lambda: _coupling(laws, policy, wanted, horizon, memory))
    chain = _attempt(lambda: Chain(env, policy, laws=laws, memory=memory))
    if isinstance(chain, str):
        return Survey(one_step, coupling, chain, chain)
    first = wanted if agents is not None or chain.num_states <= FEW_STATES else wanted[:1]
    return Survey(
        one_step,
        coupling,
        _attempt(lambda: measured(chain, first, samples, seed)),
        _attempt(lambda: ergodicity(chain)),
    )


def measured(chain: Chain, agents: Sequence[int], samples: int, seed: int = 0) -> Measured:
    """Measures the left side of (4) at all joint pairs of a small network, at `samples` random ones of a larger one."""
    agents = chain.laws.checked(agents)
    kappas = radii(chain.env.network, agents)
    if JointPairs.count(chain) <= FEW_PAIRS:
        joint = JointPairs(chain)
        return Measured(agents, torch.stack([worst_decay(joint, i)[:kappas] for i in agents], dim=1), 0, None)
    curves = torch.stack([sampled_decay(AverageValues(chain, [i]), i, samples, seed)[:, :kappas] for i in agents])
    return Measured(agents, curves.amax(dim=1).T, samples, curves)


def _one_step(laws: LocalLaws, policy: Policy, agents: list[int], gamma: float) -> Certificate | str:
    if policy.localized:
        return certificate(laws, agents, gamma=gamma)
    return _attempt(lambda: neighborhood_certificate(laws, policy, agents, gamma=gamma))


def _coupling(laws: LocalLaws, policy: Policy, agents: list[int], horizon: int, memory: float) -> Certificate | str:
    """Finds the certificate of the fewest steps that gives one, or why there is none."""
    with torch.no_grad():
        tables = [table.numpy() for table in policy_tables(policy)]
    found: Certificate | str = "it was not tried (horizon below 2)"
    for steps in range(2, horizon + 1):
        longer = _attempt(partial(coupling_certificate, laws, tables, agents, horizon=steps, memory=memory))
        if isinstance(longer, str) and isinstance(found, Certificate):
            return found._replace(reason=f"{found.reason}; {steps} steps are too many to compute: {longer}")
        found = longer
        if isinstance(found, str) or found.certified:
            break
    return found


def _without_tables(
    env: NetworkedMDP, policy: Policy, gamma: float, agents: Sequence[int] | None, why: str
) -> Certificate | str:
    """Says, where the laws cannot be listed, what discounting alone promises or what random joint pairs show."""
    if policy.hops is None and env.network.num_components() > 1:
        return f"the policy sees all states, across a network in parts, and {why}"
    if gamma < 1.0:
        wanted = list(range(env.n)) if agents is None else list(agents)
        spans = [env.reward_range[1] - env.reward_range[0]] * env.n
        bounds = discounted(env, spans, wanted, radii(env.network, wanted), gamma, policy.hops)
        return Certificate(f"discounting alone: gamma = {gamma!r} ({why})", bounds, wanted, math.inf, math.inf)
    if not policy.localized:
        return f"undecided: {why}"
    least = least_interaction(env)
    sums = least.row_sums()
    own = float(least.entries[least.neighborhood.index == torch.arange(env.n)[:, None]].max())
    note = f"row sums of C reach at least {float(sums.max()):.3g}, its diagonal at least {own:.3g}"
    if own >= 1.0:
        return f"the spectral radius of C is at least 1 ({note}, from random joint pairs; {why})"
    return f"undecided: {why} ({note}, from random joint pairs)"


def _attempt(compute: Callable[[], Found]) -> Found | str:
    try:
        return compute()
    except ConfigError as error:
        return str(error)
