"""The paper by brute force over all of Z, the joint legal state-action pairs of all agents: slow and obviously right.

Qu, Lin, Wierman, Li, NeurIPS 2020; numbers in brackets are its equations.
Plain loops; NumPy holds the arrays and solves the linear systems. The one product ever taken is the model itself,
P(s'|s,a) = prod_i P_i(s_i'|z_{N_i}). Meant for 2 to 4 agents, |Z| up to some 1,000 (`coupled_disagreement`: up to 64).
Order everywhere: agent 0 varies slowest, legal (s_i, a_i) by s_i and then a_i. Models are not changed in place:
results are cached per model object, arrays come back read-only; `dataclasses.replace` makes a variant.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product

import numpy as np
import torch

from marl.core.environment import NetworkedMDP
from marl.core.policy import Policy

Joint = tuple[int, ...]  # one number per agent
Pair = tuple[Joint, Joint]  # z = (s, a)
Part = tuple[tuple[int, int, int], ...]  # (j, s_j, a_j) for some agents j, increasing
Table = list[list[list[float]]]  # zeta_i(a | s) at [i][s][a], zero where a is illegal
EPS = 1e-12  # what rounding may do to a probability


@dataclass(frozen=True, eq=False)
class Model:
    """Section 1 written out: who sees whom, what is legal, the law, the expected rewards and the policy."""

    n: int
    neighbors: list[list[int]]  # N_i with i, increasing
    states: list[int]  # |S_i|
    legal: list[list[list[int]]]  # legal[i][s_i]: actions, increasing
    law: Callable[[Joint, Joint], list[list[float]]]  # law(s, a)[i][s_i'] = P_i(s_i' | z_{N_i})
    reward: Callable[[Joint, Joint], list[float]]  # reward(s, a)[i] = E[r_i | z_{N_i}]
    policy: Table


def model_of(env: NetworkedMDP, policy: Policy, replica: int = 0) -> Model:
    """The model of an environment under one replica of a policy, asked at one (s, a) at a time."""
    n, states, actions = env.n, env.num_states.tolist(), env.num_actions.tolist()
    neighbors: list[list[int]] = [[i] for i in range(n)]
    for i, j in env.network.edges.tolist():
        neighbors[i].append(j)
        neighbors[j].append(i)
    mask = env.action_mask.tolist()
    zeta: Table = [[] for _ in range(n)]
    for x in range(max(states)):
        at = torch.tensor([[min(x, states[i] - 1) for i in range(n)]] * policy.replicas)
        with torch.no_grad():
            probs = policy.probs(at)[replica].tolist()
        for i in range(n):
            if x < states[i]:
                zeta[i].append(probs[i][: actions[i]])
    laws: dict[Pair, list[list[float]]] = {}
    means: dict[Pair, list[float]] = {}

    def law(s: Joint, a: Joint) -> list[list[float]]:
        if (s, a) not in laws:
            rows = env.transition(torch.tensor([s]), torch.tensor([a]))[0].tolist()
            laws[s, a] = [rows[i][: states[i]] for i in range(n)]
        return laws[s, a]

    def reward(s: Joint, a: Joint) -> list[float]:
        if (s, a) not in means:
            means[s, a] = env.reward(torch.tensor([s]), torch.tensor([a]))[0].tolist()
        return means[s, a]

    legal = [[[b for b in range(actions[i]) if mask[i][x][b]] for x in range(states[i])] for i in range(n)]
    return Model(n, [sorted(near) for near in neighbors], states, legal, law, reward, zeta)


def local_pairs(model: Model, i: int) -> list[tuple[int, int]]:
    """Z_i: the legal (s_i, a_i)."""
    return [(x, b) for x in range(model.states[i]) for b in model.legal[i][x]]


def joined(local: Iterable[tuple[int, int]]) -> Pair:
    """z = (s, a) from z_0, z_1, ..."""
    local = list(local)
    return tuple(x for x, _ in local), tuple(b for _, b in local)


@lru_cache(maxsize=16)
def all_pairs(model: Model) -> list[Pair]:
    """Z."""
    return [joined(local) for local in product(*[local_pairs(model, i) for i in range(model.n)])]


@lru_cache(maxsize=16)
def all_states(model: Model) -> list[Joint]:
    """S = S_1 x ... x S_n."""
    return list(product(*[range(size) for size in model.states]))


def changed(model: Model, z: Pair, j: int) -> list[Pair]:
    """Every pair of Z that equals z but for agent j (z itself is among them)."""
    (s, a) = z
    return [((*s[:j], x, *s[j + 1 :]), (*a[:j], b, *a[j + 1 :])) for x, b in local_pairs(model, j)]


def tv(p: Sequence[float], p2: Sequence[float]) -> float:
    """Total variation distance of two distributions."""
    return sum(abs(x - y) for x, y in zip(p, p2, strict=True)) / 2


def is_distribution(p: Sequence[float]) -> bool:
    """Non-negative, sum one."""
    return min(p) >= 0 and math.isclose(sum(p), 1, abs_tol=EPS)


def check(model: Model) -> None:
    """The model's form: laws and policies are distributions, legal, and P_i, r_i see z_{N_i} only."""
    for i in range(model.n):
        for x, row in enumerate(model.policy[i]):
            assert is_distribution(row), f"zeta_{i}(.|{x}) = {row}"
            assert all(row[b] == 0 for b in range(len(row)) if b not in model.legal[i][x]), f"illegal action, {i}, {x}"
    for z in all_pairs(model):
        law, reward = model.law(*z), model.reward(*z)
        assert all(is_distribution(row) for row in law), f"law at {z}"
        for j in range(model.n):
            for z2 in changed(model, z, j):
                for i in range(model.n):
                    if j not in model.neighbors[i]:
                        assert tv(law[i], model.law(*z2)[i]) < EPS, f"P_{i} sees {j} at {z}"
                        assert abs(reward[i] - model.reward(*z2)[i]) < EPS, f"r_{i} sees {j} at {z}"


def fixed(array: np.ndarray) -> np.ndarray:
    """The same array, read-only, since results are cached."""
    array.setflags(write=False)
    return array


@lru_cache(maxsize=16)
def chain(model: Model) -> np.ndarray:
    """P(z'|z) = prod_i P_i(s_i'|z_{N_i}) zeta_i(a_i'|s_i'). [Z, Z]"""
    pairs = all_pairs(model)
    result = np.zeros((len(pairs), len(pairs)))
    for row, (s, a) in enumerate(pairs):
        law = model.law(s, a)
        for column, (s2, a2) in enumerate(pairs):
            result[row, column] = math.prod(law[i][s2[i]] * model.policy[i][s2[i]][a2[i]] for i in range(model.n))
    return fixed(result)


def joint_actions(model: Model, s: Joint) -> list[tuple[Joint, float]]:
    """All legal joint actions in s with zeta(a|s) = prod_i zeta_i(a_i|s_i)."""
    choices = product(*[model.legal[i][s[i]] for i in range(model.n)])
    return [(a, math.prod(model.policy[i][s[i]][a[i]] for i in range(model.n))) for a in choices]


@lru_cache(maxsize=16)
def state_chain(model: Model) -> np.ndarray:
    """P_theta(s'|s) = sum_a zeta(a|s) prod_i P_i(s_i'|z_{N_i}). [X, X]"""
    states = all_states(model)
    result = np.zeros((len(states), len(states)))
    for row, s in enumerate(states):
        for a, weight in joint_actions(model, s):
            law = model.law(s, a)
            for column, s2 in enumerate(states):
                result[row, column] += weight * math.prod(law[i][s2[i]] for i in range(model.n))
    return fixed(result)


def reachable(links: Sequence[Sequence[int]], start: int) -> set[int]:
    """Everything that can be reached along links, the start included."""
    found, todo = {start}, [start]
    while todo:
        for y in links[todo.pop()]:
            if y not in found:
                found.add(y)
                todo.append(y)
    return found


def stationary(matrix: np.ndarray) -> np.ndarray:
    """pi with pi P = pi, sum pi = 1; exactly zero on transient states. ValueError if recurrent classes are several."""
    size = len(matrix)
    forward = [np.nonzero(matrix[x] > 0)[0].tolist() for x in range(size)]
    backward = [np.nonzero(matrix[:, x] > 0)[0].tolist() for x in range(size)]
    x = 0
    while lost := reachable(forward, x) - reachable(backward, x):
        x = min(lost)  # x reaches it and it never reaches x: x is transient, and nothing beyond leads back to x
    if len(reachable(backward, x)) < size:
        raise ValueError("the chain has more than one recurrent class")
    recurrent = sorted(reachable(forward, x))
    block = matrix[np.ix_(recurrent, recurrent)]
    system = (np.eye(len(recurrent)) - block).T
    system[-1] = 1.0
    right = np.zeros(len(recurrent))
    right[-1] = 1.0
    pi = np.zeros(size)
    pi[recurrent] = np.linalg.solve(system, right)
    return pi


@lru_cache(maxsize=16)
def stationary_pairs(model: Model) -> np.ndarray:
    """pi over Z. [Z]"""
    return fixed(stationary(chain(model)))


def rewards(model: Model) -> np.ndarray:
    """E[r_i | z]. [Z, n]"""
    return np.array([model.reward(s, a) for s, a in all_pairs(model)])


def average_reward(model: Model) -> np.ndarray:
    """J_i = E_pi r_i (2). [n]"""
    return np.asarray(stationary_pairs(model) @ rewards(model))


def poisson(matrix: np.ndarray, reward: np.ndarray) -> np.ndarray:
    """The solution of (I - P) V = r - J 1, pi.V = 0, column by column; (I - P + 1 pi') is regular."""
    pi = stationary(matrix)
    return np.linalg.solve(np.eye(len(matrix)) - matrix + np.outer(np.ones(len(matrix)), pi), reward - pi @ reward)


@lru_cache(maxsize=16)
def q(model: Model) -> np.ndarray:
    """Q_i(s, a) = sum_t E[r_i(t) - J_i | s, a] (3): the Poisson equation on Z with pi.Q_i = 0. [Z, n]"""
    return fixed(poisson(chain(model), rewards(model)))


def value(model: Model) -> np.ndarray:
    """V_i(s) = sum_t E[r_i(t) - J_i | s]: the Poisson equation on states with pi.V_i = 0. [X, n]"""
    expected = np.zeros((len(all_states(model)), model.n))
    for row, s in enumerate(all_states(model)):
        for a, weight in joint_actions(model, s):
            expected[row] += weight * np.array(model.reward(s, a))
    return poisson(state_chain(model), expected)


def discounted_q(model: Model, gamma: float) -> np.ndarray:
    """Q_i(s, a) = sum_t gamma^t E[r_i(t) | s, a] (12). [Z, n]"""
    return np.linalg.solve(np.eye(len(all_pairs(model))) - gamma * chain(model), rewards(model))


def score_average(model: Model, i: int, f: np.ndarray) -> np.ndarray:
    """E_pi[f(z) grad log zeta_i(a_i|s_i)], tabular softmax: d/d theta_i[x,b] = 1(s_i = x) (1(a_i = b) - zeta_i(b|x))."""
    pi = stationary_pairs(model)
    result = np.zeros((model.states[i], len(model.policy[i][0])))
    for k, (s, a) in enumerate(all_pairs(model)):
        for b in model.legal[i][s[i]]:
            result[s[i], b] += pi[k] * f[k] * ((a[i] == b) - model.policy[i][s[i]][b])
    return result


def policy_gradient(model: Model) -> list[np.ndarray]:
    """grad_i J = E_pi[Q(z) grad log zeta_i], Q = (1/n) sum_i Q_i (Lemma 1). Per agent [S_i, A_i]"""
    return [score_average(model, i, q(model).sum(axis=1) / model.n) for i in range(model.n)]


def finite_difference_gradient(model: Model, step: float = 1e-6) -> list[np.ndarray]:
    """Central differences of J = (1/n) sum_i J_i in theta_i[x,b]; zeta' ~ zeta exp(+-step) at b. Per agent [S_i, A_i]"""

    def moved(i: int, x: int, b: int, by: float) -> float:
        zeta = [[list(row) for row in rows] for rows in model.policy]
        zeta[i][x][b] *= math.exp(by)
        total = sum(zeta[i][x])
        zeta[i][x] = [p / total for p in zeta[i][x]]
        return float(average_reward(replace(model, policy=zeta)).mean())

    result = [np.zeros((model.states[i], len(model.policy[i][0]))) for i in range(model.n)]
    for i in range(model.n):
        for x, b in local_pairs(model, i):
            result[i][x, b] = (moved(i, x, b, step) - moved(i, x, b, -step)) / (2 * step)
    return result


def approximate_gradient(model: Model, kappa: int, qtilde: np.ndarray) -> list[np.ndarray]:
    """h_i = E_pi[(1/n) sum_{j in N_i^kappa} Qtilde_j(z) grad log zeta_i] (7). Per agent [S_i, A_i]"""
    near = [sorted(hops(model, i, kappa)) for i in range(model.n)]
    return [score_average(model, i, qtilde[:, near[i]].sum(axis=1) / model.n) for i in range(model.n)]


def hops(model: Model, i: int, kappa: int) -> set[int]:
    """N_i^kappa: all agents within graph distance kappa of i."""
    found = {i}
    for _ in range(kappa):
        found |= {k for j in found for k in model.neighbors[j]}
    return found


def part(z: Pair, agents: Iterable[int]) -> Part:
    """z on some agents: (j, s_j, a_j), j increasing."""
    return tuple((j, z[0][j], z[1][j]) for j in sorted(agents))


def spliced(*parts: Part) -> Pair:
    """The joint pair that is made of these parts, which cover all agents once."""
    return joined((x, b) for _, x, b in sorted(triple for one in parts for triple in one))


def outside_agents(model: Model, i: int, kappa: int) -> list[int]:
    """N_{-i}^kappa."""
    return sorted(set(range(model.n)) - hops(model, i, kappa))


def truncated_q(model: Model, kappa: int, weights: Callable[[int, Part, Part], float]) -> np.ndarray:
    """Qtilde_i(z) = sum over outside pairs of w_i(outside; inside of z) Q_i(inside of z, outside) (5), (6). [Z, n]"""
    number = {z: k for k, z in enumerate(all_pairs(model))}
    result = np.zeros((len(number), model.n))
    for i in range(model.n):
        far = outside_agents(model, i, kappa)
        outsides = [
            tuple((j, x, b) for j, (x, b) in zip(far, local, strict=True))
            for local in product(*[local_pairs(model, j) for j in far])
        ]
        for z, k in number.items():
            inside = part(z, hops(model, i, kappa))
            w = [weights(i, inside, outside) for outside in outsides]
            if not is_distribution(w):
                raise ValueError(f"weights of agent {i} at {inside} are not a distribution (6): sum {sum(w)}")
            result[k, i] = sum(
                share * q(model)[number[spliced(inside, outside)], i] for share, outside in zip(w, outsides, strict=True)
            )
    return result


def left_side(model: Model, i: int, kappa: int, z: Pair, z2: Pair) -> float:
    """|Q_i(z_{N^kappa}, z_{-N^kappa}) - Q_i(z_{N^kappa}, z2_{-N^kappa})|: the left side of (4)."""
    mixed = spliced(part(z, hops(model, i, kappa)), part(z2, outside_agents(model, i, kappa)))
    pairs = all_pairs(model)
    return abs(float(q(model)[pairs.index(z), i] - q(model)[pairs.index(mixed), i]))


def worst_left_side(model: Model, i: int, kappa: int) -> float:
    """The largest left side of (4): over all inside pairs, the spread of Q_i over the outside pairs."""
    groups: dict[Part, list[float]] = {}
    for k, z in enumerate(all_pairs(model)):
        groups.setdefault(part(z, hops(model, i, kappa)), []).append(float(q(model)[k, i]))
    return max(max(group) - min(group) for group in groups.values())


def has_private_actions(model: Model) -> bool:
    """Whether no P_i changes when another agent changes its action in the same state, as (1) demands."""
    for z in all_pairs(model):
        for j in range(model.n):
            for z2 in changed(model, z, j):
                if z2[0] == z[0] and any(i != j and tv(model.law(*z)[i], model.law(*z2)[i]) > EPS for i in range(model.n)):
                    return False
    return True


def interaction_matrix(model: Model, form: str) -> np.ndarray:
    """C_ij = sup TV(P_i, P_i'), zero unless j in N_i. [n, n]

    "paper" (Theorem 1): j != i changes s_j with s_{N_i - j} and a_i fixed; j = i changes (s_i, a_i). Private actions only.
    "z" (Lemma 3): j changes z_j, the other pairs fixed.
    """
    result = np.zeros((model.n, model.n))
    if form == "z":
        for z in all_pairs(model):
            for j in range(model.n):
                for z2 in changed(model, z, j):
                    for i in range(model.n):
                        if j in model.neighbors[i]:
                            result[i, j] = max(result[i, j], tv(model.law(*z)[i], model.law(*z2)[i]))
        return result
    if form != "paper":
        raise ValueError(f"form must be 'paper' or 'z', got {form!r}")
    if not has_private_actions(model):
        raise ValueError("Theorem 1 needs private actions")

    def law(i: int, s: Joint, own: int) -> list[float]:  # the others' actions do not matter: their first legal ones
        return model.law(s, tuple(own if j == i else model.legal[j][s[j]][0] for j in range(model.n)))[i]

    for s in all_states(model):
        for i in range(model.n):
            for own in model.legal[i][s[i]]:
                for j in model.neighbors[i]:
                    for x in range(model.states[j]):
                        s2 = (*s[:j], x, *s[j + 1 :])
                        for own2 in model.legal[i][x] if j == i else [own]:
                            result[i, j] = max(result[i, j], tv(law(i, s, own), law(i, s2, own2)))
    return result


def reward_span(model: Model, i: int) -> float:
    """span(r_i) = max r_i - min r_i over Z, of expected rewards."""
    return float(np.ptp(rewards(model)[:, i]))


def reward_variation(model: Model, i: int, j: int) -> float:
    """delta_j(r_i): the largest change of E r_i when z_j alone changes (Lemma 4)."""
    own = {z: model.reward(*z)[i] for z in all_pairs(model)}
    return max(abs(own[z] - own[z2]) for z in own for z2 in changed(model, z, j))


def tail_bound(model: Model, C: np.ndarray, i: int, kappa: int, terms: int = 2000, gamma: float = 1.0) -> float:  # noqa: N803
    """Section 2 from Lemma 4, gamma^t at term t (gamma < 1: the bound for (12)).

    r_i sees z_i only: span(r_i) sum_{t > kappa} gamma^t [C^t 1_{-N_i^kappa}]_i.
    Otherwise:         sum_{t >= kappa} gamma^t sum_{j in N_i} delta_j(r_i) [C^t 1_{-N_i^kappa}]_j.
    inf if the terms do not die out and gamma * spectral radius >= 1; ValueError if they merely need more terms.
    """
    span, delta = reward_span(model, i), [reward_variation(model, i, j) for j in range(model.n)]
    private = all(delta[j] < EPS for j in range(model.n) if j != i)
    reach = np.array([float(j not in hops(model, i, kappa)) for j in range(model.n)])  # gamma^t C^t 1_{-N_i^kappa}
    total, term = 0.0, 0.0
    for t in range(terms):
        if private:
            term = span * reach[i] if t > kappa else 0.0
        else:
            term = sum(delta[j] * reach[j] for j in model.neighbors[i]) if t >= kappa else 0.0
        total += term
        if total > 1e100:
            return math.inf
        reach = gamma * C @ reach
    if term > 1e-12 * total:
        if gamma * max(abs(np.linalg.eigvals(C))) >= 1 - 1e-9:
            return math.inf
        raise ValueError(f"{terms} terms are too few: the last is {term} of {total}")
    return total


def critic_fixed_point(model: Model, i: int, kappa: int, dummy: Part | None = None) -> dict[Part, float]:
    """Q with Phi' D (r_i - J_i 1 + P Phi Q - Phi Q) = 0 (24), for every legal inside pair of N_i^kappa.

    The dummy's column is left out and its value is 0; it must have positive stationary probability, then Q is unique.
    Inside pairs of stationary probability zero are left out and nan. Without a dummy this is (25a): Q is determined
    up to a constant only; given is the solution of least Euclidean norm over the inside pairs of positive probability.
    """
    pi, matrix = stationary_pairs(model), chain(model)
    insides = [part(z, hops(model, i, kappa)) for z in all_pairs(model)]
    mass = dict.fromkeys(insides, 0.0)
    for k, inside in enumerate(insides):
        mass[inside] += float(pi[k])
    if dummy is not None and mass.get(dummy, 0.0) == 0:
        raise ValueError(f"the dummy {dummy} is illegal or has stationary probability zero")
    columns = [inside for inside in mass if mass[inside] > 0 and inside != dummy]
    phi = np.array([[float(inside == column) for column in columns] for inside in insides])  # [Z, columns]
    weighted = phi.T @ np.diag(pi)  # Phi' D
    left, right = weighted @ (phi - matrix @ phi), weighted @ (rewards(model)[:, i] - average_reward(model)[i])
    found = np.linalg.lstsq(left, right, rcond=None)[0] if dummy is None else np.linalg.solve(left, right)
    result = dict.fromkeys(mass, math.nan) | dict(zip(columns, found.tolist(), strict=True))
    return result if dummy is None else result | {dummy: 0.0}


def ergodicity(model: Model) -> tuple[float, float, float]:
    """sigma = min_z pi(z) and mu_D = ||P - 1 pi'||_D (Assumption 4), and |lambda_2| of the z-chain.

    mu_D is taken on the support of pi: the largest singular value of D^1/2 (P - 1 pi') D^-1/2 there. |lambda_2| is of
    the whole chain, transient pairs included; eigenvalues zero in Jordan blocks come out as large as 1e-4.
    """
    pi, matrix = stationary_pairs(model), chain(model)
    support = np.nonzero(pi > 0)[0]
    root = np.sqrt(pi[support])
    centred = matrix[np.ix_(support, support)] - np.outer(np.ones(len(support)), pi[support])
    mu = np.linalg.svd(root[:, None] * centred / root[None, :], compute_uv=False)[0]
    moduli = sorted(abs(np.linalg.eigvals(matrix)), reverse=True)
    return float(pi.min()), float(mu), float(moduli[1]) if len(moduli) > 1 else 0.0


def monotone_coupling(p: Sequence[float], p2: Sequence[float]) -> np.ndarray:
    """Joint law of the inverse CDFs of p and p2 at one uniform u: the length of u's that give (x, y). [S, S]"""
    up, up2 = [0.0, *np.cumsum(p).tolist()], [0.0, *np.cumsum(p2).tolist()]
    result = np.zeros((len(p), len(p2)))
    for x, y in product(range(len(p)), range(len(p2))):
        result[x, y] = max(0.0, min(up[x + 1], up2[y + 1]) - max(up[x], up2[y]))
    return result


def maximal_coupling(p: Sequence[float], p2: Sequence[float]) -> np.ndarray:
    """min(p, p2) on the diagonal, the residuals (p - p2)+ and (p2 - p)+ coupled monotonically. [S, S]"""
    over = [max(x - y, 0.0) for x, y in zip(p, p2, strict=True)]
    under = [max(y - x, 0.0) for x, y in zip(p, p2, strict=True)]
    result = monotone_coupling(over, under)
    for x in range(len(p)):
        result[x, x] += min(p[x], p2[x])
    return result


def coupled_agent(model: Model, k: int, law: Sequence[float], law2: Sequence[float]) -> np.ndarray:
    """Joint law of the next (z_k', z_k'') of two copies whose next states of k follow law and law2. [Z_k, Z_k]"""
    meet, zeta, local = maximal_coupling(law, law2), model.policy[k], local_pairs(model, k)
    result = np.zeros((len(local), len(local)))
    for row, (x, b) in enumerate(local):
        for column, (y, c) in enumerate(local):
            same = np.diag(zeta[x])  # equal states: one action for both
            actions = same if x == y else monotone_coupling(zeta[x], zeta[y])
            result[row, column] = meet[x, y] * actions[b, c]
    return result


def coupled_disagreement(model: Model, T: int) -> np.ndarray:  # noqa: N803
    """D^(T)_ij = max over z, z' that differ in agent j only of Pr[z_i(T) != z'_i(T)]. [n, n]

    f_t(z, z')_i = Pr[z_i(t) != z'_i(t) | z, z'] over Z x Z: f_0 = 1(z_i != z'_i), f_{t+1} = K f_t, where the row of the
    coupled chain K at (z, z') is the product over agents of `coupled_agent`.
    """
    local = [local_pairs(model, k) for k in range(model.n)]
    doubles = list(product(*[list(product(pairs, pairs)) for pairs in local]))  # of agents' (z_k, z_k')
    differing = [[k for k, (z, z2) in enumerate(double) if z != z2] for double in doubles]
    apart = np.array([[float(k in agents) for k in range(model.n)] for agents in differing])
    known: dict[tuple[int, tuple[float, ...], tuple[float, ...]], np.ndarray] = {}
    for t in range(1, T + 1):
        after = np.zeros_like(apart)
        for d, double in enumerate(doubles):
            if t == T and len(differing[d]) != 1:
                continue  # the last sweep is read at pairs that differ in one agent only
            law, law2 = model.law(*joined(z for z, _ in double)), model.law(*joined(z for _, z in double))
            row = np.ones(1)
            for k in range(model.n):
                key = (k, tuple(law[k]), tuple(law2[k]))
                if key not in known:
                    known[key] = coupled_agent(model, k, law[k], law2[k]).reshape(-1)
                row = np.kron(row, known[key])
            after[d] = row @ apart
        apart = after
    result = np.zeros((model.n, model.n))
    for d, agents in enumerate(differing):
        if len(agents) == 1:
            result[:, agents[0]] = np.maximum(result[:, agents[0]], apart[d])
    return result


def coloring_average(neighbors: Sequence[Sequence[int]], zeta: Sequence[Sequence[float]]) -> float:
    """J = (1/n) sum_i sum_u zeta_i(u) prod_{j in N_i - i} (1 - zeta_j(u)) (A.2); zeta [n][k]."""
    total = 0.0
    for i, near in enumerate(neighbors):
        for u in range(len(zeta[i])):
            total += zeta[i][u] * math.prod(1 - zeta[j][u] for j in near if j != i)
    return total / len(neighbors)
