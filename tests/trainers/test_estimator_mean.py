"""The credited advantages of a rollout are unbiased: with exact values their mean is the exact truncated gradient."""

import functools
from statistics import NormalDist

import numpy as np
import pytest
import torch
from torch import Tensor

from marl.core.critic import Critic
from marl.core.network import Network
from marl.core.policy import Policy
from marl.envs import LocalMDP
from marl.exact import AverageValues, Chain, JointPairs, approximate_gradient, gradient
from marl.policies import NeighborhoodSoftmax, TabularSoftmax
from marl.schedulers import Constant
from marl.trainers import KappaHopPPO
from marl.trainers.rollout import Collector

REPLICAS, K = 512, 200
ERROR = 1e-6
"""The probability that the whole file fails by chance, shared among all coordinates of all comparisons."""
KINDS: list[type[Policy]] = [TabularSoftmax, NeighborhoodSoftmax]


@functools.cache
def follow_the_left() -> LocalMDP:
    """On a ring of five everybody hears the one to its left, so that an action is felt two hops and more away."""
    draw, n = np.random.default_rng(0), 5
    laws, rewards = [], []
    for i in range(n):
        members = sorted({(i - 1) % n, i, (i + 1) % n})
        law = np.empty((2, 2, 2, 2, 2))
        for *s, a in np.ndindex(2, 2, 2, 2):
            p = 0.02 + 0.06 * draw.random() + 0.7 * s[members.index((i - 1) % n)] + 0.2 * a
            law[(*s, a)] = 1.0 - p, p
        laws.append(law)
        rewards.append(np.array([[0.0, -0.1], [1.0, 0.8]]) * (1.0 + draw.random()))
    return LocalMDP(Network.ring(n), laws, rewards)


def policy(kind: type[Policy], replicas: int) -> Policy:
    """The same policy, far from uniform, in every replica."""
    made = kind(follow_the_left(), replicas=replicas)
    theta = made.get_parameter("theta")
    with torch.no_grad():
        theta.copy_(0.7 * torch.randn(theta.shape[1:], generator=torch.Generator().manual_seed(1), dtype=theta.dtype))
    return made


class ExactValue(Critic):
    """V_i(s) of the whole state, from the Poisson equations, and J_i."""

    ignores_actions = True

    def __init__(self, values: AverageValues, *, kappa: int):
        super().__init__(follow_the_left(), kappa=kappa, replicas=REPLICAS)
        self.chain, self.values, self.unused = values.chain, values.V, self.initial.zeros(1)
        self.mu.copy_(values.J)

    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        return self.values[self.chain.number(s.numpy())]


@functools.cache
def exact(kind: type[Policy]) -> tuple[JointPairs, list[Tensor]]:
    """E[ sum_i grad log zeta_i(a_i|s) sum_{j within kappa hops of i} Q_j(s, a) ] for kappa = 0, 1, 2, over all pairs."""
    joint = JointPairs(Chain(follow_the_left(), policy(kind, 1)))
    s, a = joint.pairs
    n, found = joint.chain.n, []
    distance = [[min((i - j) % n, (j - i) % n) for j in range(n)] for i in range(n)]
    for kappa in range(3):
        near = (torch.tensor(distance) <= kappa).double()
        made = policy(kind, 1)
        score = made.log_prob(s[:, None], a[:, None])[:, 0]
        (joint.pair_weights[:, None] * score * (joint.q @ near)).sum().backward()
        found.append(made.get_parameter("theta").grad[0])
    return joint, found


@functools.cache
def sampled(kind: type[Policy], kappa: int) -> Tensor:
    """What a trainer estimates: [REPLICAS, ..], independent of each other; kappa is that of the critic, and so the credit.

    The rollouts start in the stationary law. The trainer is one that has made 10^15 updates at the least reward_rate, so
    that mu, which is J, moves by 10^-12 at most.
    """
    env, values, made = follow_the_left(), exact(kind)[0].values, policy(kind, REPLICAS)
    assert isinstance(values, AverageValues)
    sizes = {"critic_scheduler": Constant(0.1), "actor_scheduler": Constant(0.1)}
    critic = ExactValue(values, kappa=kappa)
    trainer = KappaHopPPO(env, made, critic, rollout=K, trace_decay=0.3, reward_rate=1e-12, seed=3 + 1000 * kappa, **sizes)
    draw = torch.Generator().manual_seed(5 + kappa)
    start = values.stationary.multinomial(REPLICAS, replacement=True, generator=draw)
    s = torch.from_numpy(values.chain.states(start.numpy()))
    a = made.sample(s, torch.rand(s.shape, generator=draw, dtype=torch.float64))
    rollout = Collector(env, made)(trainer.noise, s, a, 0, K)
    trainer.t = 10**15 * K
    credited = trainer._estimate(trainer._trajectories(rollout)).credited
    (made.log_prob(rollout.s[:-1], rollout.a[:-1]) * credited).mean(dim=0).sum().backward()
    return made.get_parameter("theta").grad


def largest_deviation(found: Tensor, expected: Tensor) -> float:
    """The largest distance of a mean from what is expected, in standard errors; what never varies must be as expected."""
    distance, error = (found.mean(dim=0) - expected).abs(), found.std(dim=0) / len(found) ** 0.5
    return float(torch.where(distance > 0.0, distance / error, 0.0).max())


def bound() -> float:
    """What a standard normal number passes with probability ERROR / (all coordinates), on either side."""
    coordinates = 3 * sum(policy(kind, 1).get_parameter("theta").numel() for kind in KINDS)
    return NormalDist().inv_cdf(1.0 - ERROR / (2 * coordinates))


@pytest.mark.parametrize("kappa", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_mean_of_the_estimator_is_the_exact_truncated_gradient(kind: type[Policy], kappa: int) -> None:
    """For policies of the own state and of neighbors' states, coordinate by coordinate; other credit is told apart.

    With exact V_j and J_j, E[delta_j(t) | s(t), a(t)] = Q_j(s, a) - V_j(s), and later errors have mean 0 given all
    that was before them, so that lambda adds noise alone. Given s, the score of agent i has mean 0, so V_j drops out:

        E[ grad log zeta_i(a_i|s) A~_i ] = E_pi[ grad log zeta_i(a_i|s) sum_{j in N_i^kappa} Q_j(s, a) ]

    A is `_estimate(..).credited`, not normalized, the left side a mean over replicas' means of K steps from
    stationary starts; the right side is a sum over all joint pairs. The coordinates, means of
    512 independent replicas, are taken for normal. The file fails by chance with probability 1e-6; the
    seeds are fixed anyway. What credit of other hops
    would have for a mean must fall outside the same bound.
    """
    found, expected = sampled(kind, kappa), exact(kind)[1]
    assert largest_deviation(found, expected[kappa]) < bound()
    for other in {0, 1, 2} - {kappa}:
        assert largest_deviation(found, expected[other]) > bound()


def test_what_it_is_compared_with_is_equation_7() -> None:
    """The sum over joint pairs is n times (7) for policies of the own state, and n grad J where kappa reaches everybody.

    (7) has Qtilde_j, the mean of Q_j given z_{N_j^kappa}, which holds s_i and a_i: all that the score of i depends on.
    """
    for kind in KINDS:
        joint, found = exact(kind)
        n = joint.chain.n
        torch.testing.assert_close(found[2], n * gradient(joint.chain)["theta"], rtol=0, atol=1e-13)
        for kappa in range(3) if kind is TabularSoftmax else ():
            torch.testing.assert_close(found[kappa], n * approximate_gradient(joint, kappa)["theta"], rtol=0, atol=1e-13)
