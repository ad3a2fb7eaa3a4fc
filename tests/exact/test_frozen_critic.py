"""Theorem 3 by simulation: under a frozen policy the trainer's tables go to `critic_fixed_point` and mu to J.

Tables after T steps are linear in what happened, so their expectation obeys a finite recursion over (z, table) and is
computed here exactly. That splits the claim in three, none of them with a free constant:
  - the recursion goes to the fixed point: what is left at T is the bias, and it shrinks with the step size;
  - the mean over replicas is the recursion's, up to its statistical error;
  - so it is the fixed point up to that error, which at T is far larger than the bias.
"""

import functools
import statistics
import time
from typing import NamedTuple

import jaxtyping
import numpy as np
import pytest
import torch

from marl.critics import TabularCritic
from marl.envs import LocalMDP, random_local_mdp
from marl.exact import Chain, JointPairs, critic_fixed_point
from marl.policies import RandomTable, TabularSoftmax
from marl.schedulers import Constant, PowerLaw
from marl.trainers import ScalableActorCritic

REPLICAS = 64
ERROR = 1e-6
"""Probability that a right trainer fails one of these tests, by Bonferroni over all entries and agents."""
ALPHA = PowerLaw(16.0, 0.7, 100.0)
DUMMY = 0
STEPS = {0: 20_000, 1: 40_000}


KAPPAS = pytest.mark.parametrize("kappa", [pytest.param(0, marks=pytest.mark.slow), 1])
"""By autograd at kappa = 0, compiled at kappa = 1."""


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shapes are checked in the other tests; here the checks would take most of the time."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@functools.cache
def instance(policy_seed: int = 29) -> tuple[LocalMDP, RandomTable, JointPairs]:
    """Three agents in a line, laws and signed rewards that see all of z_{N_i}; |Z| = 2 * 4 * 2.

    Seeds are such that the dummy pair of agent 1 is visited often: it alone holds the table in place, and what the
    table is off by as a whole is forgotten in proportion to its probability.
    """
    env = random_local_mdp(
        "line:3", 2, [1, 2, 1], private_actions=False, private_rewards=False, reward_low=-1.0, instance_seed=21
    )
    policy = RandomTable(env, instance_seed=policy_seed, replicas=REPLICAS)
    return env, policy, JointPairs(Chain(env, policy))


class Target(NamedTuple):
    """Of every agent: its table's row for every z (K = none: dummy), the fixed point by row, and J."""

    row: np.ndarray  # [n, Z]
    table: np.ndarray  # [n, K], nan on padding
    average: np.ndarray  # [n]


def target(kappa: int, policy_seed: int = 29) -> Target:
    env, _, joint = instance(policy_seed)
    numbers = np.unravel_index(np.arange(joint.num_pairs), joint.sizes)
    rows, tables = [], []
    for i in range(env.n):
        fixed = critic_fixed_point(joint.chain, i, kappa, DUMMY)
        near = [j for j in range(env.n) if abs(i - j) <= kappa]
        rows.append(np.ravel_multi_index([numbers[j] for j in near], tuple(fixed.shape)))
        tables.append(fixed.reshape(-1).numpy())
    most = max(map(len, tables))
    padded = np.array([np.pad(table, (0, most - len(table)), constant_values=np.nan) for table in tables])
    return Target(np.array(rows), padded, joint.values.J.numpy())


@functools.cache
def expectation(kappa: int) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """E[table] [n, K] and E[mu] [n] after T/4 and T steps, by m_t(z) = E[table_t 1(z_t = z)]."""
    env, _, joint = instance()
    row, table, _ = target(kappa)
    n, size, width = env.n, joint.num_pairs, table.shape[1]
    s, a = joint.pairs
    law = env.transition(s, a).numpy()
    z = s.numpy()
    zeta = joint.action_weight(None)
    move = np.array([[np.prod([law[x, i, z[y, i]] for i in range(n)]) * zeta[y] for y in range(size)] for x in range(size)])
    reward = env.reward(s, a).numpy().T
    learned = (row != 0).astype(float)  # the dummy pair is number 0 of every table
    pick = np.eye(width)[row] * learned[:, :, None]  # [n, Z, K]
    back = move.T.copy()
    law_now = np.prod(1.0 / env.num_states.numpy()) * zeta
    m, mu = np.zeros((n, size, width)), np.zeros((n, size))
    agents, found = np.arange(n)[:, None, None], {}
    for t in range(STEPS[kappa]):
        alpha = ALPHA(t)
        ahead = m[agents, np.arange(size)[:, None], row[:, None, :]]  # [n, z, z'] = m(z)[row of z']
        own = (m * pick).sum(axis=2)
        change = alpha * pick * (reward * law_now - mu - own)[:, :, None]
        following = alpha * np.swapaxes(move * ahead, 1, 2) @ pick
        m = back @ (m + change) + following
        mu = (mu + alpha * (reward * law_now - mu)) @ move
        law_now = law_now @ move
        if t + 1 in (STEPS[kappa] // 4, STEPS[kappa]):
            found[t + 1] = m.sum(axis=1), mu.sum(axis=1)
    return found


def as_softmax(policy: RandomTable) -> TabularSoftmax:
    """The same probabilities, of theta = their logarithms."""
    softmax = TabularSoftmax(policy.env, replicas=REPLICAS)
    with torch.no_grad():
        softmax.theta.copy_(policy.probability_table().log().nan_to_num(neginf=0.0))
    torch.testing.assert_close(softmax.probability_table(), policy.probability_table(), rtol=0.0, atol=1e-15)
    return softmax


@functools.cache
def simulation(kappa: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Tables [B, n, K] (nan on padding) and mu [B, n] of the trainer after T steps, and its seconds.

    At kappa = 0 by autograd, at kappa = 1 compiled: a softmax over logarithms of the policy's probabilities can be.
    """
    env, policy, joint = instance()
    row, table, _ = target(kappa)
    critic = TabularCritic(env, kappa=kappa, dummy=DUMMY, replicas=REPLICAS)
    trainer = ScalableActorCritic(
        env,
        policy if kappa == 0 else as_softmax(policy),
        critic,
        critic_scheduler=ALPHA,
        actor_scheduler=Constant(0.0),
        seed=12345,
        log_every=10**9,
    )
    assert trainer.engine == ("autograd" if kappa == 0 else "fused")
    began = time.perf_counter()
    trainer.run(STEPS[kappa])
    seconds = time.perf_counter() - began
    found = np.full((REPLICAS, *table.shape), np.nan)
    with torch.no_grad():
        for k, (s, a) in enumerate(zip(*joint.pairs, strict=True)):
            found[:, np.arange(env.n), row[:, k]] = critic.q(s.expand(REPLICAS, -1), a.expand(REPLICAS, -1)).numpy()
    return found, critic.mu.numpy().copy(), seconds


def quantile(tests: int) -> float:
    """t with REPLICAS - 1 degrees of freedom beyond which, on either side, lies ERROR / tests; by Hill's (1970) expansion
    in the normal quantile, better than 1 % here."""
    x, df = statistics.NormalDist().inv_cdf(1 - ERROR / (2 * tests)), REPLICAS - 1
    series = x + (x**3 + x) / (4 * df) + (5 * x**5 + 16 * x**3 + 3 * x) / (96 * df**2)
    return series + (3 * x**7 + 19 * x**5 + 17 * x**3 - 15 * x) / (384 * df**3)


def sampled(kappa: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean over replicas and half the width of its confidence interval, of all learned entries and then all mu_i."""
    tables, mu, _ = simulation(kappa)
    flat = np.concatenate([tables[:, learned(kappa)], mu], axis=1)
    tests = 2 * flat.shape[1]  # every interval serves two of the tests below
    return flat.mean(axis=0), quantile(tests) * flat.std(axis=0, ddof=1) / np.sqrt(REPLICAS)


def learned(kappa: int) -> np.ndarray:
    """Which entries [n, K] are neither padding nor the dummy."""
    table = target(kappa).table
    mask = ~np.isnan(table)
    mask[:, 0] = False
    return mask


def flat(kappa: int, pair: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    return np.concatenate([pair[0][learned(kappa)], pair[1]])


@pytest.mark.parametrize("kappa", [0, 1])
def test_the_expected_tables_go_to_the_fixed_point(kappa: int) -> None:
    """The bias at T is less than half of that at T/4 (the step size falls to 0.38) and below 1 % of the table's spread."""
    goal = target(kappa)
    fixed = flat(kappa, (goal.table, goal.average))
    assert (goal.table[:, 0] == 0.0).all()
    early, late = (np.abs(flat(kappa, found) - fixed).max() for found in expectation(kappa).values())
    print(f"\nkappa = {kappa}: bias {early:.2g} at {STEPS[kappa] // 4} steps, {late:.2g} at {STEPS[kappa]}")
    assert late < 0.5 * early
    assert late < 0.01 * np.ptp(fixed)


@KAPPAS
def test_the_trainer_has_the_expected_tables(kappa: int) -> None:
    """Mean over 64 replicas against the exact expectation: no bias at all, only the statistical error."""
    mean, margin = sampled(kappa)
    missed = np.abs(mean - flat(kappa, expectation(kappa)[STEPS[kappa]])) / margin
    print(f"\nkappa = {kappa}: {simulation(kappa)[2]:.0f} s, margin {margin.max():.2g}, used {missed.max():.2g} of it")
    assert missed.max() <= 1.0


@KAPPAS
def test_the_trainer_goes_to_the_fixed_point_and_mu_to_j(kappa: int) -> None:
    """... within the statistical error, of which the exactly known bias is at most half."""
    goal = target(kappa)
    fixed = flat(kappa, (goal.table, goal.average))
    mean, margin = sampled(kappa)
    bias = np.abs(flat(kappa, expectation(kappa)[STEPS[kappa]]) - fixed)
    print(f"\nkappa = {kappa}: bias at most {(bias / margin).max():.2g} of the margin")
    assert (bias <= margin / 2).all()
    assert (np.abs(mean - fixed) <= margin + bias).all()
    tables, mu, _ = simulation(kappa)
    assert (tables[:, :, 0] == 0.0).all()
    np.testing.assert_allclose(mu.mean(axis=0), goal.average, atol=0.05)


@KAPPAS
def test_the_test_would_notice_another_policy(kappa: int) -> None:
    """The fixed points under other policies lie several margins away."""
    mean, margin = sampled(kappa)
    for seed in (3, 4, 6):
        other = target(kappa, policy_seed=seed)
        assert (np.abs(mean - flat(kappa, (other.table, other.average))) / margin).max() > 3.0


def test_the_quantile() -> None:
    """Against the integral of the density."""
    x, df = quantile(60), REPLICAS - 1
    grid = np.linspace(0.0, x, 200_001)
    density = (1 + grid**2 / df) ** (-(df + 1) / 2)
    far = np.linspace(0.0, 400.0, 2_000_001)
    total = np.trapezoid((1 + far**2 / df) ** (-(df + 1) / 2), far)
    tail = 0.5 - np.trapezoid(density, grid) / total / 2
    assert tail == pytest.approx(ERROR / 120, rel=0.1)
