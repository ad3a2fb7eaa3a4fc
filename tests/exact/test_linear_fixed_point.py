"""Where TD(0) ends for critics that are linear in their parameters: by its equation, and by running them.

As in `tests.exact.test_frozen_critic` the run is split in two claims without a free constant: the mean over replicas is the
exact expectation of w_t up to statistical error, and that expectation goes to the fixed point.
"""

import functools
from typing import Any

import jaxtyping
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import SGD

from marl.core.critic import Critic, Transition
from marl.core.errors import ConfigError
from marl.core.objective import Discounted
from marl.critics import AdditiveCritic, PairwiseCritic, RandomFeatures
from marl.envs import LocalMDP, random_local_mdp
from marl.exact import (
    Chain,
    DiscountedValues,
    JointPairs,
    approximate_gradient,
    critic_fixed_point,
    gradient,
    linear_fixed_point,
)
from marl.policies import RandomTable, TabularSoftmax, Uniform
from marl.schedulers import PowerLaw
from tests.exact.test_frozen_critic import REPLICAS, quantile
from tests.paper import oracle
from tests.paper.instances import Case, every_case, randomized

discounts = pytest.mark.parametrize("discount", [1.0, 0.9])
KINDS: list[tuple[type[Any], dict[str, Any]]] = [
    (AdditiveCritic, {"kappa": 1}),
    (PairwiseCritic, {"kappa": 1}),
    (RandomFeatures, {"kappa": 1, "features": 4}),
]
every_critic = pytest.mark.parametrize(("kind", "more"), KINDS, ids=lambda value: getattr(value, "__name__", ""))


def one_hot(joint: JointPairs, i: int, kappa: int) -> tuple[Tensor, np.ndarray]:
    """A table over z_{N_i^kappa} as features [Z, F], and which of its entries every z uses [Z]."""
    index, mask, _ = joint.chain.env.network.neighborhood(kappa)
    near = index[i, mask[i]].tolist()
    numbers = np.unravel_index(np.arange(joint.num_pairs), joint.sizes)
    sizes = [joint.sizes[j] for j in near]
    used = np.ravel_multi_index([numbers[j] for j in near], sizes)
    return torch.from_numpy(np.eye(int(np.prod(sizes)))[used]), used


def drawn(joint: JointPairs, count: int, seed: int = 1) -> Tensor:
    """Features of the whole of z, normal."""
    return torch.randn(joint.num_pairs, count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def centered(joint: JointPairs, q: Tensor) -> Tensor:
    """q less its mean under the stationary law, at the pairs that recur."""
    seen, weight = joint.stationary > 0, joint.stationary
    return (q - (weight @ q))[seen]


@every_case
def test_a_table_is_a_linear_critic(case: Case) -> None:
    """One-hot features give Theorem 3's fixed point up to a constant."""
    for i in range(case.env.n):
        for kappa in range(case.env.n):
            features, used = one_hot(case.joint, i, kappa)
            ours = features @ linear_fixed_point(case.joint.chain, i, features)
            table = critic_fixed_point(case.joint.chain, i, kappa).reshape(-1).nan_to_num()[used]
            np.testing.assert_allclose(centered(case.joint, ours), centered(case.joint, table), rtol=0.0, atol=1e-9)


def expected_step(case: Case, i: int, features: np.ndarray, w: np.ndarray, discount: float) -> np.ndarray:
    """E[(r_i - mu + discount Q(z') - Q(z)) phi(z)], z stationary and z' next, written out; mu = J_i, or 0 if discounted."""
    pi, matrix, rewards = oracle.stationary_pairs(case.model), oracle.chain(case.model), oracle.rewards(case.model)
    mu = float(oracle.average_reward(case.model)[i]) if discount == 1.0 else 0.0
    q, step = features @ w, np.zeros(features.shape[1])
    for z in range(len(pi)):
        for z2 in np.flatnonzero(matrix[z]):
            step += pi[z] * matrix[z, z2] * (rewards[z, i] - mu + discount * q[z2] - q[z]) * features[z]
    return step


@every_case
@discounts
@pytest.mark.parametrize("shape", ["few", "redundant", "one"])
def test_the_expected_step_vanishes(case: Case, discount: float, shape: str) -> None:
    """... for features that do or do not span constants, and for redundant ones, of which the least w is given."""
    one = torch.ones(case.joint.num_pairs, 1, dtype=torch.float64)
    few = drawn(case.joint, min(3, case.joint.num_pairs))
    features = {"few": few, "redundant": torch.cat([few, one, few + one], dim=1), "one": one}[shape]
    w = linear_fixed_point(case.joint.chain, 0, features, discount)
    step = expected_step(case, 0, features.numpy(), w.numpy(), discount)
    assert np.abs(step).max() < 1e-10
    if shape == "redundant":
        both = torch.zeros(features.shape[1], 1, dtype=torch.float64)
        both[0], both[3], both[4] = 1.0, 1.0, -1.0  # features @ both = 0
        assert abs(float(w @ both[:, 0])) < 1e-9 * max(1.0, float(w.norm()))
        if discount < 1.0:
            plain = torch.cat([few, one], dim=1)
            ours, same = features @ w, plain @ linear_fixed_point(case.joint.chain, 0, plain, discount)
            seen = case.joint.stationary > 0
            np.testing.assert_allclose(ours[seen], same[seen], rtol=0.0, atol=1e-8)
    if shape == "one" and discount == 1.0:
        assert float(w) == 0.0


@every_case
def test_everybody_inside_is_q_itself(case: Case) -> None:
    """One feature per joint pair: Q_i of the average reward up to a constant, the discounted one with no constant free."""
    seen = case.joint.stationary > 0
    features = torch.eye(case.joint.num_pairs, dtype=torch.float64)
    q = DiscountedValues(case.joint.chain, 0.9).q(*case.joint.pairs)
    for i in range(case.env.n):
        average = linear_fixed_point(case.joint.chain, i, features)
        np.testing.assert_allclose(centered(case.joint, average), case.joint.q[seen, i], rtol=0.0, atol=1e-9)
        discounted = linear_fixed_point(case.joint.chain, i, features, 0.9)
        np.testing.assert_allclose(discounted[seen], q[seen, i], rtol=0.0, atol=1e-9)
        np.testing.assert_allclose(discounted[~seen], 0.0, rtol=0.0, atol=1e-10)


@every_case
@pytest.mark.parametrize("discount", [0.5, 0.9])
def test_distance_to_the_discounted_q(case: Case, discount: float) -> None:
    """|w.phi - Q_i| <= min over v of |v.phi - Q_i| / sqrt(1 - gamma^2) in the norm of pi (Tsitsiklis and Van Roy 1997)."""
    joint, pi = case.joint, case.joint.stationary
    q = DiscountedValues(joint.chain, discount).q(*joint.pairs)
    for i in range(case.env.n):
        features, _ = one_hot(joint, i, 0)
        root = pi.sqrt()
        best = np.linalg.lstsq((root[:, None] * features).numpy(), (root * q[:, i]).numpy(), rcond=None)[0]
        found = linear_fixed_point(joint.chain, i, features, discount)
        least, away = (float((pi @ (features @ v - q[:, i]).square()).sqrt()) for v in (torch.from_numpy(best), found))
        assert least - 1e-12 <= away <= least / (1 - discount**2) ** 0.5 + 1e-10


STEPS = 600
ALPHA = PowerLaw(60.0, 0.9, 300.0)
LONGER = 8
TESTS = 6 * 3 * 16
"""Intervals of all runs together: critics and discounts, agents, joint pairs."""


@functools.cache
def instance() -> tuple[LocalMDP, RandomTable, JointPairs]:
    """Three agents in a line, laws and signed rewards that see all of z_{N_i}; |Z| = 16."""
    env = random_local_mdp(
        "line:3", 2, [1, 2, 1], private_actions=False, private_rewards=False, reward_low=-1.0, instance_seed=21
    )
    policy = RandomTable(env, instance_seed=29, replicas=REPLICAS)
    return env, policy, JointPairs(Chain(env, policy))


def made(kind: type[Any], more: dict[str, Any]) -> Critic:
    """The critic, with the features of replica 0 in all replicas."""
    critic: Critic = kind(instance()[0], replicas=REPLICAS, **more)
    for name, buffer in critic.named_buffers():
        if name in critic.state_dict() and not name.endswith("mu"):
            buffer.copy_(buffer[:1].expand_as(buffer).clone())
    return critic


def q_everywhere(critic: Critic, joint: JointPairs) -> Tensor:
    """Q_i of every replica at every joint pair. [Z, B, n]"""
    s, a = (part[:, None].expand(-1, critic.replicas, -1) for part in joint.pairs)
    return critic.q(s, a)


def features_of(critic: Critic, joint: JointPairs, i: int) -> Tensor:
    """phi_i at every joint pair by autograd: the derivative of Q_i of replica 0 in all its parameters. [Z, F]"""
    parameters, rows = list(critic.parameters()), []
    for q in q_everywhere(critic, joint)[:, 0, i]:
        parts = torch.autograd.grad(q, parameters, retain_graph=True)
        rows.append(torch.cat([part[0].flatten() for part in parts]))
    return torch.stack(rows)


@every_critic
def test_features_by_autograd(kind: type[Any], more: dict[str, Any]) -> None:
    """Q_i is the features times the parameters whatever these are, and so are finite differences of it."""
    critic, joint = made(kind, more), instance()[2]
    for seed in range(2):
        draw = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in critic.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=draw, dtype=torch.float64))
        w = torch.cat([parameter[0].flatten() for parameter in critic.parameters()]).detach()
        for i in range(3):
            features = features_of(critic, joint, i)
            before = q_everywhere(critic, joint)[:, 0, i].detach()
            np.testing.assert_allclose(features @ w, before, rtol=0.0, atol=1e-12)
            direction = [
                torch.randn(parameter.shape, generator=draw, dtype=torch.float64) for parameter in critic.parameters()
            ]
            with torch.no_grad():
                for parameter, by in zip(critic.parameters(), direction, strict=True):
                    parameter.add_(1e-3 * by)
            moved = (q_everywhere(critic, joint)[:, 0, i].detach() - before) / 1e-3
            np.testing.assert_allclose(
                features @ torch.cat([by[0].flatten() for by in direction]), moved, rtol=0.0, atol=1e-9
            )
            w = torch.cat([parameter[0].flatten() for parameter in critic.parameters()]).detach()


def all_actions_gradient(joint: JointPairs, critic: Critic) -> Tensor:
    """E_pi[sum_a grad zeta_i(a|s_i) (1/n) sum_{j in N_i^kappa} Q_j(z with a_i = a)] of a tabular softmax, [n, S, A]."""
    s, a = (part[:, None] for part in joint.pairs)
    value = joint.chain.policy.probs(s) * critic.counterfactual(s, a)
    (found,) = torch.autograd.grad((joint.stationary[:, None, None, None] * value).sum(), joint.chain.policy.theta)
    return found[0]


@pytest.mark.parametrize("kappa", [1, 2])
def test_additive_features_are_compatible(kappa: int) -> None:
    """Sutton et al. (2000): where TD(1) ends, at the projections of the true Q_j, `all_actions` is the exact gradient.

    kappa = 1 is that of (7), with the Q_j of the neighborhood; kappa = 2 is everybody, so that it is the whole gradient.
    Where TD(0) ends, the gradient is another.
    """
    env = random_local_mdp("line:3", 2, 2, interaction=1.0, private_actions=False, private_rewards=False)
    policy = randomized(TabularSoftmax(env))
    joint, critic = JointPairs(Chain(env, policy)), AdditiveCritic(env, kappa=kappa)
    features = [features_of(critic, joint, i) for i in range(3)]
    root = joint.stationary.sqrt()
    ends = {
        "TD(1)": [torch.linalg.pinv(root[:, None] * phi) @ (root * joint.q[:, i]) for i, phi in enumerate(features)],
        "TD(0)": [linear_fixed_point(joint.chain, i, phi) for i, phi in enumerate(features)],
    }
    found = {}
    for name, weights in ends.items():
        with torch.no_grad():
            critic.weight.copy_(sum(weights).view(critic.weight.shape))  # those of other agents are zero
        found[name] = all_actions_gradient(joint, critic)
    wanted = approximate_gradient(joint, kappa)["theta"]
    np.testing.assert_allclose(found["TD(1)"], wanted, rtol=0.0, atol=1e-10)
    if kappa == 2:
        np.testing.assert_allclose(found["TD(1)"], gradient(joint.chain)["theta"], rtol=0.0, atol=1e-10)
    assert float(wanted.norm()) > 0.01
    assert float((found["TD(0)"] - wanted).norm()) > 1e-3 * float(wanted.norm())


def expectation(i: int, features: np.ndarray, discount: float) -> list[Tensor]:
    """E[features w_t] of agent i after STEPS and LONGER * STEPS steps from w = mu = 0, exactly.

    m_t(z) = E[w_t 1(z_t = z)], likewise mu, obey a linear recursion, since a step is linear in (w, mu) given z and z'.
    """
    env, _, joint = instance()
    s, a = joint.pairs
    law, zeta, reward = env.transition(s, a).numpy(), joint.action_weight(None), env.reward(s, a)[:, i].numpy()
    ahead = np.prod([law[:, j][:, s[:, j]] for j in range(env.n)], axis=0) * zeta
    now = np.prod(1.0 / env.num_states.numpy()) * zeta
    m, mu, found = np.zeros_like(features), np.zeros(len(features)), []
    for t in range(LONGER * STEPS):
        alpha = ALPHA(t)
        error = reward * now - (mu if discount == 1.0 else 0.0) - (features * m).sum(axis=1)
        m = ahead.T @ (m + alpha * error[:, None] * features) + alpha * discount * (ahead * (m @ features.T)).T @ features
        mu = (mu + alpha * (reward * now - mu)) @ ahead
        now = now @ ahead
        if t + 1 in (STEPS, LONGER * STEPS):
            found.append(torch.from_numpy(features @ m.sum(axis=0)))
    return found


def learned(kind: type[Any], more: dict[str, Any], discount: float) -> Critic:
    """The critic after STEPS steps of TD(0) with its own loss along one trajectory of a frozen policy."""
    env, policy, _ = instance()
    critic, draw = made(kind, more), torch.Generator().manual_seed(12345)
    critic.objective = critic.objective if discount == 1.0 else Discounted(discount)
    optimizer = SGD(critic.parameters(), lr=1.0)
    s = env.reset(torch.rand(REPLICAS, env.n, env.num_uniforms, generator=draw, dtype=torch.float64))
    a = policy.sample(s, torch.rand(REPLICAS, env.n, generator=draw, dtype=torch.float64))
    for t in range(STEPS):
        u = torch.rand(REPLICAS, env.n, env.num_uniforms + 1, generator=draw, dtype=torch.float64)
        next_s, r = env.step(s, a, u[..., :-1])
        next_a = policy.sample(next_s, u[..., -1])
        optimizer.param_groups[0]["lr"] = ALPHA(t)
        optimizer.zero_grad()
        critic.loss(critic.q(s, a), Transition(s, a, r, next_s, next_a)).sum().backward()
        critic.track_reward(r, ALPHA(t))
        optimizer.step()
        s, a = next_s, next_a
    return critic


@every_critic
@pytest.mark.parametrize("discount", [1.0, 0.8])
def test_td_goes_to_the_fixed_point(
    kind: type[Any], more: dict[str, Any], discount: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From zero, for all agents at once; for the average reward up to a constant.

    The mean over 64 replicas is the exact expectation after as many steps, within an interval that a right critic leaves
    with probability 1e-6 in all these tests together. After 8 times as many steps that expectation is four times nearer
    to the fixed point's Q_i (the step size falls to a sixth), and within 5 % of its spread.
    """
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # shapes are checked elsewhere
    critic, joint = learned(kind, more, discount), instance()[2]
    every = q_everywhere(critic, joint).detach()
    for i in range(3):
        features = features_of(critic, joint, i)
        fixed = features @ linear_fixed_point(joint.chain, i, features, discount)
        early, late = expectation(i, features.numpy(), discount)
        q = every[:, :, i].T
        if discount == 1.0:
            fixed, early, late = (centered(joint, part) for part in (fixed, early, late))
            q = q - (q @ joint.stationary)[:, None]
        margin = quantile(TESTS) * q.std(dim=0) / REPLICAS**0.5
        off, bias, later = (q.mean(dim=0) - early).abs(), (early - fixed).abs().max(), (late - fixed).abs().max()
        spread = fixed.max() - fixed.min()
        print(f"\nagent {i}: {float((off / margin).max()):.2g} of the margin {float(margin.max() / spread):.2g}, ", end="")
        print(f"bias {float(bias / spread):.2g}, later {float(later / spread):.2g}, of a spread {float(spread):.3g}")
        assert (off <= margin).all()
        assert later <= min(bias / 4, 0.05 * spread)


def line() -> Chain:
    env = random_local_mdp("line:2", 2, 2)
    return Chain(env, Uniform(env))


@pytest.mark.parametrize(
    ("words", "agent", "features", "discount"),
    [
        ("no agent 2", 2, torch.ones(16, 1), 1.0),
        (r"discount must be .* \[0, 1\], got 1.5", 0, torch.ones(16, 1), 1.5),
        (r"each of 16 joint pairs .* shape \[15, 1\]", 0, torch.ones(15, 1), 1.0),
        (r"shape \[16\]", 0, torch.ones(16), 1.0),
        (r"shape \[16, 0\]", 0, torch.ones(16, 0), 1.0),
        (r"1 to 4096 columns, got shape \[16, 4097\]", 0, torch.ones(16, 4097), 1.0),
        ("features must be finite", 0, torch.full((16, 1), torch.nan), 1.0),
    ],
)
def test_refused(words: str, agent: int, features: Tensor, discount: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ConfigError, match=words):
        linear_fixed_point(line(), agent, features, discount)


def test_a_network_with_too_many_joint_pairs_is_refused() -> None:
    env = random_local_mdp("line:9")
    with pytest.raises(ConfigError, match=r"1.01e\+07 joint pairs are too many"):
        linear_fixed_point(Chain(env, Uniform(env)), 0, torch.ones(1, 1, dtype=torch.float64))
