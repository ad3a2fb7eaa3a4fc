"""TD(0) with a frozen policy ends here for a critic Q_i = w . phi(z_{N_i^kappa}) that is linear in its parameters.

The expected step vanishes, A w = b, under the stationary law of z(t), with phi' the features of z(t+1):

    average reward   A = E[phi (phi - phi')'],        b = E[phi (r_i - J_i)]       (at rest mu_i is J_i)
    discounted       A = E[phi (phi - gamma phi')'],  b = E[phi r_i]

With one-hot phi this is (24). It always has a solution: w'A w is at least (1 - gamma) E (w.phi)^2, and for the average
reward E (w.phi - w.phi')^2 / 2, which is zero only if w.phi is constant. So A w = 0 and A'w = 0 have the same solutions,
and b is orthogonal to them. Hence Q_i = w.phi is unique at the pairs that recur, for the average reward up to a constant
if the features span one. w itself need not be unique (redundant features): given is that of least Euclidean norm.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from marl.core.checks import number
from marl.core.errors import ConfigError
from marl.exact.chain import Chain
from marl.exact.truncation import JointPairs
from marl.exact.values import next_value

MOST_FEATURES = 4096
"""Largest number of features of the linear system."""
RANK = 1e-12
"""Singular values of A below this, relative to the largest of E[phi phi'], are rounding: those of A w = 0."""


def linear_fixed_point(
    chain: Chain, agent: int, features: Float[Tensor, "Z F"], discount: float = 1.0
) -> Float[Tensor, "F"]:
    """Solves for w of agent i. Its Q_i at every joint pair is features @ w.

    features: phi at every joint pair, in the order of `JointPairs(chain).pairs`.
    Errors: `ConfigError` for features that are misshapen, not finite or more than 4096, as `JointPairs`, and for an
    agent or discount that is none.
    """
    (agent,) = chain.laws.checked([agent])
    discount = number("discount", discount, 0.0, 1.0)
    joint = JointPairs(chain)
    phi = _checked(joint, features)
    s, a = joint.pairs
    state, zeta = torch.from_numpy(chain.number(s.numpy())), torch.from_numpy(joint.action_weight(None))
    mean = torch.zeros(chain.num_states, phi.shape[1], dtype=torch.float64)
    mean.index_add_(0, state, zeta[:, None] * phi)  # E[phi(s, a) | s]
    following = next_value(chain, mean.numpy(), s, a)  # E[phi' | z]
    reward = chain.laws.env.reward(s, a)[:, agent]
    if discount == 1.0:
        reward = reward - joint.values.J[agent]
    weighted = (joint.stationary[:, None] * phi).T
    left, size, right = torch.linalg.svd(weighted @ (phi - discount * following))
    matter = size > RANK * torch.linalg.matrix_norm(weighted @ phi, 2)
    return right.T[:, matter] @ ((left.T @ (weighted @ reward))[matter] / size[matter])


def _checked(joint: JointPairs, features: Tensor) -> Float[Tensor, "Z F"]:
    phi = torch.as_tensor(features, dtype=torch.float64).detach()
    if phi.ndim != 2 or phi.shape[0] != joint.num_pairs or not 1 <= phi.shape[1] <= MOST_FEATURES:
        raise ConfigError(
            f"features must have one row for each of {joint.num_pairs} joint pairs and 1 to {MOST_FEATURES} columns, got "
            f"shape {list(phi.shape)}"
        )
    if not phi.isfinite().all():
        raise ConfigError("features must be finite")
    return phi
