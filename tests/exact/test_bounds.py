"""Bounds are bounds: no left side of (4) exceeds its certificate on 1,000 random instances of either certificate.

Left sides are measured here by plain spreads of Q over the table of all joint pairs. `pytest -s` prints how tight the
bounds are.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor

from marl.core.environment import NetworkedMDP
from marl.core.network import Network
from marl.core.policy import Policy
from marl.envs import random_local_mdp
from marl.exact import Certificate, Chain, JointPairs, LocalLaws, certificate, coupling_certificate, worst_decay
from marl.policies import RandomTable

COUNTS = pytest.mark.parametrize("count", [200, pytest.param(1_000, marks=pytest.mark.slow)])
"""Certified instances of either certificate."""
GAMMAS = (0.5, 0.9)
RELATIVE, ROUNDING = 1e-10, 1e-12
REWARDS = [(0.0, 1.0), (-1.0, 1.0), (-3.0, -1.0), (-1.0, 0.0)]


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks of shapes, which all other tests of the package do, would take most of the time here.

    The second line is for functions defined inside functions: their checks are compiled anew in every call.
    """
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    monkeypatch.setattr(jaxtyping, "jaxtyped", lambda **_: lambda function: function)


def network(draw: np.random.Generator) -> Network:
    """2 to 4 agents in a line, a ring, a star, or with links at random (not always connected)."""
    n, kind = int(draw.integers(2, 5)), int(draw.integers(4))
    if kind == 0:
        return Network.line(n)
    if kind == 1 and n > 2:
        return Network.ring(n)
    if kind == 2:
        return Network.from_edges(n, [(0, j) for j in range(1, n)])
    return Network.from_edges(n, [(i, j) for i in range(n) for j in range(i) if draw.random() < 0.6])


def instances(interaction: tuple[float, float], most_pairs: int) -> Iterator[tuple[NetworkedMDP, Policy]]:
    """Random tables over random networks; 2 or 3 states (every fourth: 1 to 3), 1 to 3 actions; all flags."""
    for seed in itertools.count():
        draw = np.random.default_rng([seed, 2020])
        graph = network(draw)
        while True:
            states, actions = draw.integers(1 if seed % 4 == 0 else 2, 4, graph.n), draw.integers(1, 4, graph.n)
            if states.max() > 1 and np.prod(states * actions) <= most_pairs:
                break
        low, high = REWARDS[draw.integers(len(REWARDS))]
        env = random_local_mdp(
            graph,
            states.tolist(),
            actions.tolist(),
            ("normalized", "dirichlet")[draw.integers(2)],
            interaction=float(draw.uniform(*interaction)),
            private_actions=bool(draw.integers(2)),
            private_rewards=bool(draw.integers(2)),
            reward_low=low,
            reward_high=high,
            instance_seed=seed,
        )
        yield env, RandomTable(env, distribution="dirichlet", instance_seed=seed)


def left_sides(env: NetworkedMDP, q: Tensor) -> np.ndarray:
    """The suprema of (4) of Q [Z, n], kappa = 0 .. n-1 by agents: spreads over what is outside, worst inside. [n, n]"""
    found = np.zeros((env.n, env.n))
    for i in range(env.n):
        distance = env.network.distances(i).numpy()
        table = q[:, i].numpy().reshape(env.index.num_pairs.tolist())
        for kappa in range(env.n):
            beyond = tuple(j for j in range(env.n) if not 0 <= distance[j] <= kappa)
            found[kappa, i] = (table.max(axis=beyond) - table.min(axis=beyond)).max()
    return found


def discounted_q(joint: JointPairs, gamma: float) -> Tensor:
    """Q of (12) from a linear system over joint states, [Z, n]."""
    chain, env = joint.chain, joint.chain.laws.env
    values = np.linalg.solve(np.eye(chain.num_states) - gamma * chain.matrix.numpy(), chain.rewards())
    law = env.transition(*joint.pairs).numpy()
    following = np.ones((joint.num_pairs, 1))
    for i, size in enumerate(chain.sizes):
        following = (following[:, :, None] * law[:, i, None, :size]).reshape(joint.num_pairs, -1)
    return env.reward(*joint.pairs) + gamma * torch.from_numpy(following @ values)


class Tightness:
    """bound / left side by kappa, wherever the left side is more than rounding."""

    def __init__(self, name: str):
        self.name = name
        self.ratios: dict[int, list[float]] = defaultdict(list)

    def check(self, measured: np.ndarray, bounds: np.ndarray) -> None:
        """Asserts every bound; `bounds` may end where nobody is outside, then left sides are rounding."""
        assert np.isfinite(bounds).all()
        assert (bounds >= 0).all()
        full = np.zeros_like(measured)
        full[: len(bounds)] = bounds[: len(measured)]
        assert (measured <= full * (1 + RELATIVE) + ROUNDING).all(), (self.name, measured, full)
        for kappa, i in zip(*np.nonzero(measured > 1e-6), strict=True):
            self.ratios[int(kappa)].append(full[kappa, i] / measured[kappa, i])

    def report(self, kappas: int, highest_median: float) -> None:
        """Prints quantiles of the ratios and holds them against a loose range."""
        print()
        for kappa in range(kappas):
            low, median, high = np.quantile(self.ratios[kappa], [0.1, 0.5, 0.9])
            count = len(self.ratios[kappa])
            print(f"{self.name}, kappa = {kappa}: bound / left side {median:.3g} ({low:.3g} to {high:.3g}), {count} agents")
            assert min(self.ratios[kappa]) >= 1.0 - 1e-6
            assert 1.0 < median < highest_median


def check_refusal(found: Certificate) -> None:
    """Nothing is promised, in numbers or words: the only bound on a radius is one that is no use."""
    assert found.bounds is None
    assert not found.certified
    assert (found.rate, found.constant, found.kappa_for(1e300)) == (None, None, None)
    assert found.radius > 1.0 - 1e-6
    assert found.row_sum > 1.0 - 1e-6
    assert " could not be shown to be below 1 (at most " in found.reason
    assert float(found.reason.split("(at most ")[1].split(")")[0]) >= 1.0
    assert "<" not in found.reason


@COUNTS
def test_one_step(count: int) -> None:
    """Instances certified at gamma = 1, at least 20 % by row sums and 6 % beyond them; these and what is refused also
    discounted, by 0.5 or 0.9 in turn.

    Theorem 1 and Corollary 1 in the paper's form, c rho^(kappa + 1), bound the same left sides wherever they apply.
    """
    seen: Counter[str] = Counter()
    tight = {gamma: Tightness(f"one step, gamma = {gamma:g}") for gamma in (1.0, *GAMMAS)}
    paper = Tightness("Theorem 1 and Corollary 1")
    for number, (env, policy) in enumerate(instances((0.1, 0.7), most_pairs=64)):
        if seen["certified"] == count:
            break
        laws = LocalLaws(env)
        joint = JointPairs(Chain(env, policy, laws=laws))
        for gamma in (1.0, GAMMAS[number % 2]):
            found = certificate(laws, gamma=gamma)
            if found.bounds is None:
                assert gamma == 1.0
                check_refusal(found)
                seen["refused"] += 1
                continue
            measured = left_sides(env, joint.q if gamma == 1.0 else discounted_q(joint, gamma))
            tight[gamma].check(measured, found.bounds.numpy())
            if found.rate is not None and found.constant is not None:
                assert found.rate < 1.0
                assert env.private_rewards
                theorem = found.constant * found.rate ** np.arange(1, env.n + 1.0)
                paper.check(measured, np.broadcast_to(theorem[:, None], measured.shape))
                seen[f"Theorem 1 at {gamma}"] += 1
            if gamma == 1.0:
                seen["certified"] += 1
                seen["by row sums" if found.row_sum < 1.0 else "by the radius alone"] += 1
                curves = torch.stack([worst_decay(joint, i) for i in range(env.n)], dim=1)
                np.testing.assert_allclose(curves.numpy(), measured, rtol=0, atol=1e-14)
            elif "discounting alone" in found.reason:
                seen["discounting alone"] += 1
    print(f"\n{dict(seen)}")
    assert seen["certified"] == count
    assert seen["by row sums"] >= count // 5
    assert seen["by the radius alone"] >= 6 * count // 100
    assert seen["refused"] >= count // 10
    assert min(seen[f"Theorem 1 at {gamma}"] for gamma in (1.0, *GAMMAS)) >= count // 5
    assert seen["discounting alone"] >= count // 50
    for part in (*tight.values(), paper):
        part.report(3, highest_median=1e4)


@COUNTS
def test_several_steps_under_one_policy(count: int) -> None:
    """Instances and policies that the one-step certificate refuses and the coupling certifies, 10 % at T = 3."""
    seen: Counter[str] = Counter()
    tight = {horizon: Tightness(f"coupling, {horizon} steps") for horizon in (2, 3)}
    for number, (env, policy) in enumerate(instances((0.7, 1.0), most_pairs=64)):
        if seen["certified"] == count:
            break
        laws = LocalLaws(env)
        if certificate(laws).certified:
            seen["certified in one step"] += 1
            continue
        chain = Chain(env, policy, laws=laws)
        horizon = 3 if number % 11 == 1 else 2
        found = coupling_certificate(laws, chain.tables, horizon=horizon)
        if found.bounds is None:
            check_refusal(found)
            seen["refused"] += 1
            continue
        seen["certified"] += 1
        seen[f"at {horizon} steps"] += 1
        assert found.rate is None
        assert "under this policy is at most" in found.reason
        tight[horizon].check(left_sides(env, JointPairs(chain).q), found.bounds.numpy())
    print(f"\n{dict(seen)}")
    assert seen["certified"] == count
    assert seen["at 3 steps"] >= count // 12
    assert seen["refused"] >= count // 50
    tight[2].report(3, highest_median=1e4)
    tight[3].report(2, highest_median=1e4)
