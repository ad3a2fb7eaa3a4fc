"""Policies zeta_i(a_i | s_{O_i}) that see the states of neighbors, or all states, in everything exact.

The judge lists all joint pairs and asks the environment and the policy at every one of them.
"""

from functools import cache, cached_property
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from marl.core.environment import NetworkedMDP
from marl.core.network import Network
from marl.core.policy import Policy
from marl.envs import LoadBalancing, Scheduling, WirelessAccess, random_local_mdp
from marl.exact import (
    AverageValues,
    Chain,
    DiscountedValues,
    JointPairs,
    approximate_gradient,
    critic_error,
    critic_fixed_point,
    discounted_gradient,
    discounted_gradient_by_autograd,
    discounted_pairs,
    ergodicity,
    gradient,
    gradient_by_autograd,
    linear_fixed_point,
    marginal_q,
    truncated_q,
    worst_decay,
)
from marl.policies import NeighborhoodNeural, NeighborhoodSoftmax, NeighborhoodTable, TabularSoftmax
from tests.envs.joint import average_reward, following, joint_actions, joint_states
from tests.paper.instances import randomized

CLOSE = {"rtol": 0.0, "atol": 1e-10}
TREE = Network.from_edges(5, [(4, 0), (0, 3), (3, 1), (1, 2)])


class SeesAll(Policy):
    """A free logit for every joint state of all agents: hops = None."""

    hops = None

    def __init__(self, env: NetworkedMDP, **run: Any):
        super().__init__(env, **run)
        stride = torch.tensor(np.cumprod([1, *env.num_states.tolist()[:-1]]))
        self.register_buffer("_stride", stride, persistent=False)
        self.theta = self.initial.zeros(int(env.num_states.prod()), env.n, env.action_mask.shape[2])

    def _logits(self, s: Tensor) -> Tensor:
        return self.theta[
            torch.arange(self.replicas)[:, None], (s * self._stride).sum(-1, keepdim=True), torch.arange(s.shape[-1])
        ]


def drawn(graph: str | Network, states: list[int], actions: list[int], form: str, **more: Any) -> NetworkedMDP:
    """form: are actions, rewards private (p) or shared (s)?"""
    private = {"private_actions": form[0] == "p", "private_rewards": form[1] == "p"}
    return random_local_mdp(graph, states, actions, reward_low=-1.0, instance_seed=5, **private, **more)


ENVS: dict[str, Any] = {
    **{
        f"line-{form}": lambda form=form: drawn("line:4", [2, 3, 1, 2], [2, 2, 2, 3], form)
        for form in ("pp", "ps", "sp", "ss")
    },
    **{f"tree-{form}": lambda form=form: drawn(TREE, [2, 3, 1, 2, 2], [2, 1, 2, 2, 1], form) for form in ("ps", "sp")},
    "ring-ss": lambda: drawn("ring:4", [2, 2, 2, 2], [2, 2, 2, 2], "ss"),
    "one-agent": lambda: drawn("line:1", [3], [2], "ss"),
    "scheduling": lambda: Scheduling("line:3", buffer=2, arrival=0.2),
    "load-balancing": lambda: LoadBalancing("line:3", buffer=2),
    "wireless": lambda: WirelessAccess(incidence=[[0], [0, 1], [1]], deadline=[1, 2, 1], instance_seed=4),
}
KINDS = {0: NeighborhoodTable, 1: NeighborhoodTable, 2: NeighborhoodTable, None: SeesAll}


class Subject:
    """An environment and a random policy that sees so many hops; replica 1 of 2. What is asked for is made once."""

    def __init__(self, name: str, hops: int | None, kind: type | None = None):
        self.env: NetworkedMDP = ENVS[name]()
        run = {"replicas": 2} if hops is None else {"replicas": 2, "kappa": hops}
        self.policy = randomized((kind or KINDS[hops])(self.env, **run), seed=2)

    @cached_property
    def dense(self) -> Chain:
        return Chain(self.env, self.policy, replica=1, method="dense")

    @cached_property
    def free(self) -> Chain:
        return Chain(self.env, self.policy, replica=1, method="free", laws=self.dense.laws)

    @cached_property
    def joint(self) -> JointPairs:
        return JointPairs(self.dense)

    @cached_property
    def brute(self) -> "Brute":
        return Brute(self.env, self.policy, 1)


class Brute:
    """All legal joint pairs z: states, actions, the weight zeta(a|s), P(s'|z), rewards and the number of s."""

    def __init__(self, env: NetworkedMDP, policy: Policy, replica: int):
        states, actions = joint_states(env), joint_actions(env)
        s = states.repeat_interleave(len(actions), dim=0)
        a = actions.repeat(len(states), 1)
        kept = env.action_mask[torch.arange(env.n), s, a].all(dim=1)
        number = torch.arange(len(states)).repeat_interleave(len(actions))[kept]
        s, a = s[kept], a[kept]
        with torch.no_grad():
            probs = torch.stack([policy.probs(x.expand(policy.replicas, -1))[replica].double() for x in states])
        zeta = probs[number].gather(-1, a[..., None])[..., 0].prod(dim=1)
        parts = (s, a, zeta, following(env, s, a, states), env.reward(s, a), number)
        self.s, self.a, self.zeta, self.next, self.reward, self.state = (part.numpy() for part in parts)

    @cached_property
    def pairs(self) -> np.ndarray:
        """P(z'|z) [Z, Z]."""
        return self.next[:, self.state] * self.zeta

    @cached_property
    def matrix(self) -> np.ndarray:
        """P(s'|s) [X, X]."""
        matrix = np.zeros((self.next.shape[1],) * 2)
        np.add.at(matrix, self.state, self.zeta[:, None] * self.next)
        return matrix

    @cached_property
    def stationary(self) -> np.ndarray:
        """pi(z) [Z]: that of the states, by repeated squaring, times zeta."""
        return np.linalg.matrix_power(self.matrix, 2**12)[0][self.state] * self.zeta

    @cached_property
    def q(self) -> np.ndarray:
        """Q_i(z) [Z, n], with mean 0 under pi."""
        pi = self.stationary
        return np.linalg.solve(np.eye(len(pi)) - self.pairs + pi, self.reward - pi @ self.reward)

    def discounted_q(self, gamma: float) -> np.ndarray:
        """sum_t gamma^t E[r_i(t) | z], [Z, n]."""
        return np.linalg.solve(np.eye(len(self.s)) - gamma * self.pairs, self.reward)


@cache
def subject(name: str, hops: int | None) -> Subject:
    return Subject(name, hops)


every_env = pytest.mark.parametrize("name", ENVS)
every_hops = pytest.mark.parametrize("hops", KINDS)


@every_env
@every_hops
def test_both_routes_are_the_brute_force(name: str, hops: int | None) -> None:
    """Matrix, its transpose, rewards, J and Q, dense and by elimination."""
    case, draw = subject(name, hops), np.random.default_rng(0)
    matrix, brute = case.brute.matrix, case.brute
    rewards = np.zeros((len(matrix), case.env.n))
    np.add.at(rewards, brute.state, brute.zeta[:, None] * brute.reward)
    h, w = draw.uniform(-1, 1, (2, len(matrix), 3))
    np.testing.assert_allclose(case.dense.matrix, matrix, **CLOSE)
    for chain in (case.dense, case.free):
        np.testing.assert_allclose(chain.expect(h), matrix @ h, **CLOSE)
        np.testing.assert_allclose(chain.push(w), matrix.T @ w, **CLOSE)
        np.testing.assert_allclose(chain.rewards(), rewards, **CLOSE)
        values = AverageValues(chain)
        np.testing.assert_allclose(values.J, brute.stationary @ brute.reward, **CLOSE)
        np.testing.assert_allclose(values.q(brute.s, brute.a), brute.q, rtol=0.0, atol=1e-9)
    np.testing.assert_allclose(case.joint.pair_weights.sum(), 1.0, **CLOSE)


@every_env
@every_hops
def test_lemma_1_is_autograd(name: str, hops: int | None) -> None:
    case = subject(name, hops)
    ours, autograd = gradient(case.free)["theta"], gradient_by_autograd(case.dense)["theta"]
    np.testing.assert_allclose(ours, autograd, **CLOSE)
    np.testing.assert_allclose(gradient(case.dense)["theta"], autograd, **CLOSE)
    assert float(ours.abs().max()) > 1e-5
    found = discounted_gradient(case.free, 0.8)["theta"]
    np.testing.assert_allclose(found, discounted_gradient_by_autograd(case.dense, 0.8)["theta"], **CLOSE)
    np.testing.assert_allclose(
        DiscountedValues(case.free, 0.8).q(case.brute.s, case.brute.a), case.brute.discounted_q(0.8), **CLOSE
    )


@pytest.mark.parametrize("name", ["line-ps", "line-sp", "wireless"])
@pytest.mark.parametrize("kind", [NeighborhoodSoftmax, NeighborhoodNeural])
def test_lemma_1_is_autograd_for_every_kind_of_policy(name: str, kind: type) -> None:
    case = Subject(name, 1, kind)
    ours, autograd = gradient(case.free), gradient_by_autograd(case.dense)
    assert list(ours) == list(autograd) == [parameter for parameter, _ in case.policy.named_parameters()]
    for parameter, found in ours.items():
        np.testing.assert_allclose(found, autograd[parameter], **CLOSE)


@pytest.mark.parametrize("name", ["line-ps", "line-sp"])
def test_it_is_the_derivative_of_j(name: str) -> None:
    """Central differences of the brute-force J in a few directions."""
    case = Subject(name, 1)
    policy = NeighborhoodTable(case.env, kappa=1)
    with torch.no_grad():
        policy.theta.copy_(case.policy.theta[1:])
    found, draw = gradient(Chain(case.env, policy))["theta"], torch.Generator().manual_seed(1)
    for _ in range(3):
        direction = torch.randn(found.shape, generator=draw, dtype=torch.float64)
        ends = []
        for step in (1e-4, -2e-4):
            with torch.no_grad():
                policy.theta += step * direction
            ends.append(average_reward(case.env, policy))
        with torch.no_grad():
            policy.theta += 1e-4 * direction
        assert float((found * direction).sum()) == pytest.approx((ends[0] - ends[1]) / 2e-4, abs=1e-6)


@every_hops
@pytest.mark.parametrize("name", ["line-pp", "line-ss", "tree-sp"])
def test_tables_and_marginals(name: str, hops: int | None) -> None:
    """tables[i][s_{O_i}, a] is what the policy says; G_i sums pi(s) E[Q | s, a_i] over the rest."""
    case = subject(name, hops)
    brute, chain = case.brute, case.free
    weighted = brute.stationary * brute.q.mean(axis=1)
    for i, (table, seen, found) in enumerate(zip(chain.tables, chain.seen, marginal_q(chain), strict=True)):
        distance = case.env.network.distances(i)
        assert seen == [j for j in range(chain.n) if hops is None or 0 <= distance[j] <= hops]
        assert table.shape == found.shape == (*(chain.sizes[j] for j in seen), case.env.action_mask.shape[2])
        place = (*brute.s[:, seen].T, brute.a[:, i])
        with torch.no_grad():
            probs = case.policy.probs(torch.from_numpy(brute.s)[:, None].expand(-1, 2, -1))[:, 1, i].numpy()
        np.testing.assert_allclose(table[place], probs[np.arange(len(probs)), brute.a[:, i]], **CLOSE)
        exact = np.zeros_like(table)
        np.add.at(exact, place, weighted / table[place])
        np.testing.assert_allclose(found, exact, **CLOSE)


@pytest.mark.parametrize("name", ["line-ps", "line-ss", "wireless"])
@pytest.mark.parametrize("hops", [1, None])
def test_truncation_across_the_network_is_exact(name: str, hops: int | None) -> None:
    """kappa = the diameter: (5) is Q, (7) is the gradient; below it, (7) is its definition, summed over all pairs."""
    case = subject(name, hops)
    across = int(case.env.network.distances(0).max())
    for joint, exact in (
        (case.joint, gradient(case.free)),
        (discounted_pairs(case.dense, 0.7), discounted_gradient(case.free, 0.7)),
    ):
        np.testing.assert_allclose(truncated_q(joint, across), joint.q, **CLOSE)
        np.testing.assert_allclose(approximate_gradient(joint, across)["theta"], exact["theta"], **CLOSE)
    for i in range(case.env.n):
        curve = worst_decay(case.joint, i)
        assert float(curve[int(case.env.network.distances(i).max()) :].abs().max()) == 0.0


@pytest.mark.parametrize("name", ["line-ps", "line-ss"])
@pytest.mark.parametrize("hops", [1, 2])
@pytest.mark.parametrize("kappa", [0, 1])
def test_the_approximate_gradient_is_its_definition(name: str, hops: int, kappa: int) -> None:
    """h_i = E[(1/n) sum_{j in N_i^kappa} Qtilde_j grad log zeta_i], by autograd of log zeta at every pair; Lemma 2 (b)."""
    case = subject(name, hops)
    s, a = case.joint.pairs
    weight, tilde, n = case.joint.pair_weights, truncated_q(case.joint, kappa), case.env.n
    log_zeta = case.policy.log_prob(s[:, None].expand(-1, 2, -1), a[:, None].expand(-1, 2, -1))[:, 1]
    near = torch.stack([case.env.network.distances(i) <= kappa for i in range(n)]).double()
    terms = (weight[:, None] * (tilde @ near.T) / n * log_zeta).sum()
    (found,) = torch.autograd.grad(terms, case.policy.theta, retain_graph=True)
    np.testing.assert_allclose(approximate_gradient(case.joint, kappa)["theta"], found[1], **CLOSE)
    error = (weight[:, None] * ((tilde - case.joint.q).mean(dim=1, keepdim=True)) * log_zeta).sum()
    (difference,) = torch.autograd.grad(error, case.policy.theta)
    exact = gradient(case.free)["theta"]
    np.testing.assert_allclose(found[1] - exact, difference[1], **CLOSE)
    assert float((found[1] - exact).abs().max()) > 1e-6


@pytest.mark.parametrize("name", ["line-ps", "line-sp", "tree-ps", "scheduling", "wireless"])
@every_hops
def test_ergodicity(name: str, hops: int | None) -> None:
    case = subject(name, hops)
    found, pi, pairs = ergodicity(case.free), case.brute.stationary, case.brute.pairs
    support = pi > 1e-13
    root = np.sqrt(pi[support])
    centred = pairs[np.ix_(support, support)] - pi[support]
    moduli = np.sort(np.abs(np.linalg.eigvals(pairs)))[::-1]
    assert found.sigma == pytest.approx(max(0.0, pi.min()), abs=1e-12)
    assert found.mu_D == pytest.approx(np.linalg.norm(root[:, None] * centred / root, 2), abs=1e-7)
    assert found.lambda_2 == pytest.approx(moduli[1], abs=1e-3)


@pytest.mark.parametrize("name", ["line-ps", "line-sp", "scheduling"])
@every_hops
@pytest.mark.parametrize("kappa", [0, 1])
def test_the_fixed_point_of_the_critic(name: str, hops: int | None, kappa: int) -> None:
    """(24) over all joint pairs, and the same by one-hot features."""
    case = subject(name, hops)
    found = critic_fixed_point(case.free, 1, kappa)
    brute, pi, laws = case.brute, case.brute.stationary, case.free.laws
    near = [j for j in range(case.env.n) if int(case.env.network.distances(1)[j]) <= kappa]
    compact = [case.env.pair_index[j].numpy()[brute.s[:, j], brute.a[:, j]] for j in near]
    phi = np.eye(found.numel())[np.ravel_multi_index(compact, [laws.num_pairs[j] for j in near])]
    known = pi @ phi > 1e-12
    left = (phi.T * pi) @ (phi - brute.pairs @ phi)
    exact = np.linalg.lstsq(left, (phi.T * pi) @ (brute.reward - pi @ brute.reward)[:, 1], rcond=None)[0]
    exact -= (pi @ phi) @ exact
    np.testing.assert_allclose(found.reshape(-1)[known], exact[known], rtol=0.0, atol=1e-8)
    assert found.reshape(-1)[~known].isnan().all()
    error = critic_error(case.joint, 1, kappa, found)
    mean = phi @ exact - brute.q[:, 1]
    assert error == pytest.approx(np.sqrt(pi @ (mean - pi @ mean) ** 2), abs=1e-8)
    w = linear_fixed_point(case.dense, 1, torch.from_numpy(_in_order(case.joint, brute, phi)))
    shift = w.numpy()[known] - exact[known]
    np.testing.assert_allclose(shift, shift[0], rtol=0.0, atol=1e-7)


def _in_order(joint: JointPairs, brute: Brute, rows: np.ndarray) -> np.ndarray:
    """Rows at the brute force's pairs, in the order of `joint.pairs`."""
    where = {(*s, *a): row for s, a, row in zip(brute.s.tolist(), brute.a.tolist(), rows, strict=True)}
    return np.array([where[*s, *a] for s, a in zip(*(part.tolist() for part in joint.pairs), strict=True)])


def test_a_table_that_ignores_the_neighbors_is_the_own_state_policy() -> None:
    """Every number equals that of the softmax policy of the own state."""
    env = ENVS["tree-sp"]()
    own = randomized(TabularSoftmax(env), seed=1)
    wide = NeighborhoodTable(env, kappa=1)
    index, mask, _ = wide.neighborhood
    with torch.no_grad():
        row = 0
        for i, near in enumerate(index[j][mask[j]].tolist() for j in range(env.n)):
            sizes = env.num_states[near].tolist()
            for number in range(int(np.prod(sizes))):
                s = np.unravel_index(number, sizes, order="F")[near.index(i)]
                wide.theta[0, row] = own.theta[0, i, int(s)]
                row += 1
    one, other = Chain(env, own, method="free"), Chain(env, wide, method="free")
    for near, table, narrow in zip(other.seen, other.tables, one.tables, strict=True):
        shaped = narrow.reshape(*(table.shape[k] if j == other.seen.index(near) else 1 for k, j in enumerate(near)), -1)
        np.testing.assert_allclose(table, np.broadcast_to(shaped, table.shape), **CLOSE)
    np.testing.assert_allclose(AverageValues(other).V, AverageValues(one).V, **CLOSE)
    for wide_g, g, i in zip(marginal_q(other), marginal_q(one), range(env.n), strict=True):
        others = tuple(k for k, j in enumerate(other.seen[i]) if j != i)
        np.testing.assert_allclose(wide_g.sum(axis=others), g, **CLOSE)
    assert list(ergodicity(other)) == pytest.approx(list(ergodicity(one)), abs=1e-9)
