"""Assumption 4 becomes numbers: sigma, mu_D and |lambda_2| of the chain of joint pairs z(t)."""

import math
from typing import NamedTuple

import numpy as np
import torch

from marl.core.checks import size
from marl.core.errors import ConfigError
from marl.exact import poisson
from marl.exact.chain import Chain

MOST_STATES = 1024
"""Joint states up to which eigenvalues are computed."""
_ONE = 1.0 - 1e-9


class Ergodicity(NamedTuple):
    """sigma = min_z pi(z); mu_D = ||P - 1 pi'||_D; lambda_2: second largest modulus of an eigenvalue of P. All over Z."""

    sigma: float
    mu_D: float  # noqa: N815  # the paper's name
    lambda_2: float

    @property
    def vacuous(self) -> str | None:
        """Says why Theorems 2 and 3 say nothing here, or None."""
        reasons = []
        if self.sigma <= 0.0:
            reasons.append("some joint pairs have stationary probability 0 (Assumption 4(a) fails)")
        if self.mu_D >= _ONE:
            reasons.append("mu_D = 1, so the bounds are infinite (Assumption 4(b) fails)")
        if not reasons:
            return None
        note = f", although the chain mixes (|lambda_2| = {self.lambda_2:.3g})" if self.lambda_2 < _ONE else ""
        return "Theorems 2 and 3 are vacuous: " + " and ".join(reasons) + note


def ergodicity(chain: Chain) -> Ergodicity:
    """Computes the numbers of a chain. Errors: `ConfigError` beyond 1,024 joint states, or as `poisson.solve`.

    mu_D^2 is the largest of E_pi (E[g(s')|z])^2 over functions g of the state with mean 0 and E_pi g^2 = 1 (an
    actions' part of g only adds to the norm), so it needs the law of two next states drawn independently from one z.
    The nonzero eigenvalues of the chain of pairs are those of the chain of states.
    """
    if chain.num_states > MOST_STATES:
        raise ConfigError(
            f"sigma, mu_D and lambda_2 are computed up to {MOST_STATES} joint states; "
            f"this network has {size(chain.num_states)}"
        )
    pi = poisson.stationary(chain).numpy()
    seen = pi > 0
    root = np.sqrt(pi[seen])
    twice = _two_successors(chain, pi)[np.ix_(seen, seen)]
    gram = twice / np.outer(root, root) - np.outer(root, root)
    mu = math.sqrt(max(0.0, float(np.linalg.eigvalsh((gram + gram.T) / 2)[-1])))
    moduli = torch.linalg.eigvals(chain.matrix).abs().sort(descending=True).values
    return Ergodicity(_least_pair(chain, pi), min(mu, 1.0), float(moduli[1]) if len(moduli) > 1 else 0.0)


def _least_pair(chain: Chain, pi: np.ndarray) -> float:
    """Finds min over z of pi(s) prod_i zeta_i(a_i|s_{O_i})."""
    states = chain.states()
    for i, table in enumerate(chain.tables):
        least = np.where(chain.legal(i), table, np.inf).min(axis=-1)
        pi = pi * least[tuple(states[:, chain.seen[i]].T)]
    return float(pi.min())


def _two_successors(chain: Chain, pi: np.ndarray) -> np.ndarray:
    """Computes E_pi[P(s'|z) P(s''|z)] as a matrix [X, X]: pi pushed through the laws of pairs of next states."""
    twice = [(p[..., :, None] * p[..., None, :]).reshape(*p.shape[:-1], -1) for p in chain.laws.law]
    pushed = chain.plan([size**2 for size in chain.sizes]).push(*chain.factors(twice), pi[:, None])
    by_agent = pushed.reshape([size for s in chain.sizes for size in (s, s)])
    order = [*range(0, 2 * chain.n, 2), *range(1, 2 * chain.n, 2)]
    return by_agent.transpose(order).reshape(chain.num_states, chain.num_states)
