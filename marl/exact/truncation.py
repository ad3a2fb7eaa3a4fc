"""Truncated Q-functions (5) with any weights (6), and the gradient (7) that they give, are computed here.

These need Q at every joint pair, so they are for small networks. Tables over Z are numbered in mixed radix over the
compact pairs of `env.index`, agent 0 most significant.
"""

import math
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from marl.core.checks import integer, size
from marl.core.errors import ConfigError
from marl.exact.chain import Chain
from marl.exact.gradient import Gradient, through_policy
from marl.exact.values import AverageValues, Values

MOST_PAIRS = 2**22
"""Largest |Z| that is listed."""


class JointPairs:
    """This lists Q_i(z) and the weight of every z, of the average reward or of other `values` of the same chain.

    values: of all agents; None = `AverageValues(chain)`.
    Errors: `ConfigError` if there are more than 2^22 joint pairs, for values of another chain or of some agents only, and
    those of `AverageValues` where none are given.
    """

    def __init__(self, chain: Chain, values: Values | None = None):
        self.chain = chain
        self.sizes: list[int] = chain.laws.num_pairs
        self.num_pairs = self.count(chain)
        if self.num_pairs > MOST_PAIRS:
            raise ConfigError(
                f"{size(self.num_pairs)} joint pairs are too many to list (at most {MOST_PAIRS:.3g}); ask for Q at chosen "
                "pairs, or use a smaller network"
            )
        if values is not None and (values.chain is not chain or values.agents != list(range(chain.n))):
            whose = "this" if values.chain is chain else "another"
            raise ConfigError(
                f"joint pairs need the values of agents 0 to {chain.n - 1} of the same chain, got those of agents "
                f"{values.agents} of {whose} chain; leave out `agents` and give both the one chain"
            )
        self.values: Values = AverageValues(chain) if values is None else values

    @staticmethod
    def count(chain: Chain) -> int:
        """The number of joint pairs is |Z|."""
        return math.prod(chain.laws.num_pairs)

    @cached_property
    def pairs(self) -> tuple[Int64[Tensor, "Z n"], Int64[Tensor, "Z n"]]:
        """The states and actions (s, a) of every z are listed in the order of all tables over Z."""
        numbers = np.unravel_index(np.arange(self.num_pairs), self.sizes)
        laws = self.chain.laws
        s, a = ([of[i][z] for i, z in enumerate(numbers)] for of in (laws.pair_state, laws.pair_action))
        return torch.from_numpy(np.stack(s, axis=1)), torch.from_numpy(np.stack(a, axis=1))

    @cached_property
    def q(self) -> Float[Tensor, "Z n"]:
        """Q_i(z) stands in column i."""
        return self.values.q(*self.pairs)

    @cached_property
    def pair_weights(self) -> Float[Tensor, "Z"]:
        """How much every z counts is `state_weights` of s times zeta(a|s): the stationary law, or the occupancy."""
        s = self.pairs[0].numpy()
        return self.values.state_weights[self.chain.number(s)] * torch.from_numpy(self.action_weight(None))

    @property
    def stationary(self) -> Float[Tensor, "Z"]:
        """The stationary law is pi(z) = pi(s) zeta(a|s). Errors: `ConfigError` if `values` are discounted."""
        if not isinstance(self.values, AverageValues):
            raise ConfigError(
                f"{type(self.values).__name__} have no stationary law, under which critic_error takes its means; use "
                "JointPairs(chain), which is of the average reward, or `pair_weights`, of total mass 1 / (1 - gamma)"
            )
        return self.pair_weights

    def action_weight(self, without: int | None) -> Float[np.ndarray, "Z"]:
        """Multiplies zeta_j(a_j|s_{O_j}) over all agents, or over all but one."""
        s, a = (part.numpy() for part in self.pairs)
        kept = [self.chain.zeta(j, s, a[:, j]) for j in range(self.chain.n) if j != without]
        return np.prod(kept, axis=0) if kept else np.ones(self.num_pairs)


def truncated_q(joint: JointPairs, kappa: int, weights: Tensor | None = None) -> Float[Tensor, "Z n"]:
    """Computes (5), Qtilde_i(z_{N_i^kappa}) = sum over the outside of w_i(outside; inside) Q_i, at every z.

    weights: any non-negative measure m over Z, [Z] or one per agent [n, Z]; w_i(outside; inside) is m(z) divided by its
    sum over the outside, and uniform where that is zero, so that (6) holds. None = `joint.pair_weights`.
    Errors: `ConfigError` for negative, NaN or misshapen weights.
    """
    kappa = integer("kappa", kappa, 0)
    n = joint.chain.n
    measure = joint.pair_weights if weights is None else _checked(joint, weights)
    columns = []
    for i in range(n):
        beyond = outside(joint.chain, i, kappa)
        own = (measure if measure.ndim == 1 else measure[i]).reshape(joint.sizes)
        if beyond:
            total = own.sum(dim=beyond, keepdim=True)
            share = torch.where(total > 0, own / total, 1.0 / math.prod(joint.sizes[j] for j in beyond))
            mean = (share * joint.q[:, i].reshape(joint.sizes)).sum(dim=beyond, keepdim=True)
            columns.append(mean.expand(joint.sizes).reshape(-1))
        else:
            columns.append(joint.q[:, i])
    return torch.stack(columns, dim=1)


def approximate_gradient(joint: JointPairs, kappa: int, weights: Tensor | None = None) -> Gradient:
    """Computes (7), h_i = E_pi[(1/n) sum_{j in N_i^kappa} Qtilde_j] grad log zeta_i, by parameter.

    E_pi stands for the sum with `joint.pair_weights`: of discounted values (7) estimates the gradient of J^gamma.
    Of a policy that sees s_{O_i} the score is grad log zeta_i(a_i|s_{O_i}), and the sum still goes over N_i^kappa, larger
    than O_i or smaller. Lemma 2 (b) stays: Qtilde_j of a j outside N_i^kappa does not see z_i, and given all states s and
    all other actions the score has mean 0, however far agent i sees. So h_i - grad_i J is E_pi[(1/n) sum_j (Qtilde_j - Q_j)
    score_i], j over all agents, which is zero once kappa reaches across the network.
    """
    return through_policy(joint.chain.policy, joint.chain.replica, approximate_marginal(joint, kappa, weights))


def approximate_marginal(joint: JointPairs, kappa: int, weights: Tensor | None = None) -> list[np.ndarray]:
    """Computes what stands in (7) in place of the `marginal_q` of Lemma 1, in the same shapes."""
    chain = joint.chain
    tilde = truncated_q(joint, kappa, weights).numpy()
    s, a = (part.numpy() for part in joint.pairs)
    weights_of_states = joint.values.state_weights.numpy()[chain.number(s)]
    found = []
    for i in range(chain.n):
        near = [j for j in range(chain.n) if j not in outside(chain, i, kappa)]
        terms = weights_of_states * joint.action_weight(i) * tilde[:, near].sum(axis=1) / chain.n
        totals = np.zeros_like(chain.tables[i])
        np.add.at(totals, (*s[:, chain.seen[i]].T, a[:, i]), terms)
        found.append(totals)
    return found


def outside(chain: Chain, i: int, kappa: int) -> list[int]:
    """Lists N_{-i}^kappa, the agents farther than kappa from agent i."""
    index, mask, _ = chain.env.network.neighborhood(kappa)
    inside = set(index[i, mask[i]].tolist())
    return [j for j in range(chain.n) if j not in inside]


def _checked(joint: JointPairs, weights: Tensor) -> Tensor:
    weights = torch.as_tensor(weights, dtype=torch.float64)
    if weights.shape not in ((joint.num_pairs,), (joint.chain.n, joint.num_pairs)):
        raise ConfigError(
            f"weights must have one entry per joint pair, shape [{joint.num_pairs}] or "
            f"[{joint.chain.n}, {joint.num_pairs}], got {list(weights.shape)}"
        )
    if not (weights >= 0).all() or not weights.isfinite().all():
        raise ConfigError("weights must be finite and not negative")
    return weights
