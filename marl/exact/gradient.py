"""The gradient of J = (1/n) sum_i J_i in the parameters of a policy is computed exactly, in two ways.

Lemma 1: grad J = E_pi[Q(s, a) grad log zeta(a|s)] = sum over i, x, a_i of G_i(x, a_i) grad zeta_i(a_i|x), x = s_{O_i} what
agent i's policy sees, with G_i(x, a_i) = sum over s with s_{O_i} = x of pi(s) E[Q | s, a_i]: needs only the state chain,
any size.
Autograd: J as the solution of a linear system in P_theta and r_theta, differentiated by torch; small chains.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from marl.core.policy import Policy
from marl.exact import dense, poisson
from marl.exact.chain import Chain
from marl.exact.policy_tables import policy_tables

Gradient = dict[str, Tensor]
"""Parameter name -> gradient of that replica's parameters, without the replica axis."""


def gradient(chain: Chain) -> Gradient:
    """Computes grad J by Lemma 1. Errors: as `poisson.solve`."""
    return through_policy(chain.policy, chain.replica, marginal_q(chain))


def gradient_by_autograd(chain: Chain) -> Gradient:
    """Computes grad J by differentiating the solution of the Poisson equation.

    Errors: `ConfigError` beyond 4096 joint states.
    """
    _ = chain.recurrent  # refuses several recurrent classes
    tables = policy_tables(chain.policy, chain.replica)
    system = poisson.system(dense.transition_matrix(chain.laws, tables, chain.seen))
    average = torch.linalg.solve(system, dense.expected_rewards(chain.laws, tables, chain.seen).mean(dim=1))[0]
    return _of_parameters(chain.policy, chain.replica, average)


def marginal_q(chain: Chain) -> list[np.ndarray]:
    """G_i is pi(s_{O_i}) times the mean of Q given s_{O_i} and a_i, zero on illegal actions. Q is (1/n) sum_i Q_i.

    Shapes: those of `chain.tables`, [S_l for l in O_i, A]; [S_i, A] of an own-state policy.
    """
    solution = poisson.solve(chain, chain.rewards().mean(axis=1, keepdims=True))
    pi = poisson.stationary(chain).numpy()
    values = solution.V.numpy()[:, 0]
    totals = summed_q(chain, pi, values - pi @ values)
    less = [float(solution.J) * by_seen_states(chain, i, pi)[..., None] for i in range(chain.n)]
    return [np.where(chain.legal(i), total - less[i], 0.0) for i, total in enumerate(totals)]


def summed_q(
    chain: Chain, weights: Float[np.ndarray, "X"], values: Float[np.ndarray, "X"], gamma: float = 1.0
) -> list[np.ndarray]:
    """Sums weights(s) E[(1/n) sum_j r_j + gamma values(s') | s, a_i] over the s with the same s_{O_i}, for every agent i.

    The other agents act by the policy. Shapes: those of `chain.tables`; zero on illegal actions.
    """
    n, mean = chain.n, chain.rewards().mean(axis=1)
    found = []
    for i in range(n):
        near = [i] if chain.env.private_rewards else chain.laws.neighbors[i]
        rest = mean - chain.rewards(near).sum(axis=1) / n
        totals = np.zeros_like(chain.tables[i])
        for action in range(totals.shape[-1]):
            tables = list(chain.tables)
            tables[i] = chain.always(i, action)
            q = rest + chain.rewards(near, tables).sum(axis=1) / n + gamma * chain.expect(values[:, None], tables)[:, 0]
            totals[..., action] = by_seen_states(chain, i, weights * q)
        found.append(np.where(chain.legal(i), totals, 0.0))
    return found


def through_policy(policy: Policy, replica: int, marginal: list[np.ndarray]) -> Gradient:
    """Sums marginal_i(s_{O_i}, a_i) grad zeta_i(a_i|s_{O_i}) over i, s_{O_i}, a_i."""
    tables = policy_tables(policy, replica)
    parts = [(torch.from_numpy(g) * table).sum() for g, table in zip(marginal, tables, strict=True)]
    return _of_parameters(policy, replica, torch.stack(parts).sum())


def norm(gradient: Gradient) -> float:
    """Computes the Euclidean norm over all parameters."""
    return math.sqrt(sum(float(part.double().square().sum()) for part in gradient.values()))


def _of_parameters(policy: Policy, replica: int, total: Tensor) -> Gradient:
    named = dict(policy.named_parameters())
    if not named:
        return {}
    parts = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    return {
        name: torch.zeros_like(parameter[replica]) if part is None else part[replica]
        for (name, parameter), part in zip(named.items(), parts, strict=True)
    }


def by_seen_states(chain: Chain, i: int, weights: Float[np.ndarray, "X"]) -> Float[np.ndarray, "*S"]:
    """Sums weights of joint states over what agent i's policy does not see."""
    return weights.reshape(chain.sizes).sum(axis=tuple(j for j in range(chain.n) if j not in chain.seen[i]))
