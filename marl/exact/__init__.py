"""This package gives every statement of the paper as numbers, on the same environment objects that the trainers sample.

    chain = Chain(env, policy)              # P_theta on the joint state, dense or matrix-free by size
    AverageValues(chain).J, .V, .q(s, a)    # (2), (3)
    gradient(chain)                         # Lemma 1
    DiscountedValues(chain, gamma, start)   # the same with a discount (12), and discounted_gradient
    certificate(chain.laws)                 # Theorem 1 and Corollary 1: for every policy at once
    optimum(env)                            # the most that any policy can earn, in a bracket
    best_local(env, kappa)                  # the best of agents that see the states within kappa hops
    localized_policy_iteration(env, kappa)  # evaluate and improve, with exact values
    coupling_certificate(chain.laws, chain.tables)    # for this policy of the own state, several steps at once
    neighborhood_certificate(chain.laws, policy)      # for this policy, which may see the states of neighbors
    marginal_bound(env).value               # no policy earns more

Results are float64, whatever the policy was trained in.
"""

from marl.exact.best_local import BestLocal, ascend, best_local
from marl.exact.certificate import Certificate, certificate
from marl.exact.chain import Chain
from marl.exact.coupling import coupling_certificate, disagreement
from marl.exact.decay import decay_curve, fit, sampled_decay, worst_decay
from marl.exact.discounted import (
    DiscountedValues,
    discounted_gradient,
    discounted_gradient_by_autograd,
    discounted_pairs,
)
from marl.exact.ergodicity import Ergodicity, ergodicity
from marl.exact.fixed_point import critic_error, critic_fixed_point
from marl.exact.gradient import gradient, gradient_by_autograd, marginal_q, norm
from marl.exact.interaction import interaction_matrix, reward_variation
from marl.exact.linear_fixed_point import linear_fixed_point
from marl.exact.local_laws import LocalLaws
from marl.exact.marginal_bound import MarginalBound, marginal_bound
from marl.exact.monitor import ExactMonitor
from marl.exact.neighborhood_certificate import neighborhood_certificate
from marl.exact.optimum import Optimum, optimum
from marl.exact.poisson import solve, stationary
from marl.exact.policy_iteration import LocalIteration, localized_policy_iteration
from marl.exact.survey import Measured, Survey, measured, survey
from marl.exact.ties import LocalTables
from marl.exact.truncation import JointPairs, approximate_gradient, truncated_q
from marl.exact.values import AverageValues, Values

__all__ = [
    "AverageValues",
    "BestLocal",
    "Certificate",
    "Chain",
    "DiscountedValues",
    "Ergodicity",
    "ExactMonitor",
    "JointPairs",
    "LocalIteration",
    "LocalLaws",
    "LocalTables",
    "MarginalBound",
    "Measured",
    "Optimum",
    "Survey",
    "Values",
    "approximate_gradient",
    "ascend",
    "best_local",
    "certificate",
    "coupling_certificate",
    "critic_error",
    "critic_fixed_point",
    "decay_curve",
    "disagreement",
    "discounted_gradient",
    "discounted_gradient_by_autograd",
    "discounted_pairs",
    "ergodicity",
    "fit",
    "gradient",
    "gradient_by_autograd",
    "interaction_matrix",
    "linear_fixed_point",
    "marginal_bound",
    "localized_policy_iteration",
    "marginal_q",
    "measured",
    "neighborhood_certificate",
    "norm",
    "optimum",
    "reward_variation",
    "sampled_decay",
    "solve",
    "stationary",
    "survey",
    "truncated_q",
    "worst_decay",
]
