"""The discounted objective by brute force over all joint pairs, summed over time: slow and obviously right.

Nothing is solved. The law of z(t) is carried forward from z(0) one step at a time and gamma^t times what is wanted is
added up, until all that can follow is below rounding. Models, pairs and their order are those of `tests.paper.oracle`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from tests.paper import oracle
from tests.paper.oracle import Model, Part

LEFT_OUT = 1e-17
"""What all later rewards of size 1 add up to when a sum over time ends."""


def horizon(gamma: float) -> int:
    """Steps T with gamma^T / (1 - gamma) <= LEFT_OUT."""
    return 1 if gamma == 0 else math.ceil(math.log(LEFT_OUT * (1 - gamma)) / math.log(gamma))


def q(model: Model, gamma: float) -> np.ndarray:
    """Q_i(z) = sum_t gamma^t E[r_i(t) | z(0) = z] (12). [Z, n]"""
    total, now = np.zeros((len(oracle.all_pairs(model)), model.n)), oracle.rewards(model)
    for _ in range(horizon(gamma)):
        total, now = total + now, gamma * oracle.chain(model) @ now
    return total


def value(model: Model, gamma: float) -> np.ndarray:
    """V_i(s) = sum_a zeta(a|s) Q_i(s, a). [X, n]"""
    number = {z: k for k, z in enumerate(oracle.all_pairs(model))}
    table, result = q(model, gamma), np.zeros((len(oracle.all_states(model)), model.n))
    for x, s in enumerate(oracle.all_states(model)):
        for a, weight in oracle.joint_actions(model, s):
            result[x] += weight * table[number[s, a]]
    return result


def first_pairs(model: Model, start: np.ndarray) -> np.ndarray:
    """Pr[z(0)] when s(0) has the law `start` [X] and actions follow the policy. [Z]"""
    number = {z: k for k, z in enumerate(oracle.all_pairs(model))}
    result = np.zeros(len(number))
    for x, s in enumerate(oracle.all_states(model)):
        for a, weight in oracle.joint_actions(model, s):
            result[number[s, a]] = start[x] * weight
    return result


def occupancy(model: Model, gamma: float, start: np.ndarray) -> np.ndarray:
    """sum_t gamma^t Pr[z(t) = z]. [Z]"""
    now, total = first_pairs(model, start), np.zeros(len(oracle.all_pairs(model)))
    for _ in range(horizon(gamma)):
        total, now = total + now, gamma * now @ oracle.chain(model)
    return total


def objective(model: Model, gamma: float, start: np.ndarray) -> float:
    """J^gamma = sum_t gamma^t E[(1/n) sum_i r_i(t)]: rewards are received where they fall."""
    now, total = first_pairs(model, start), 0.0
    for t in range(horizon(gamma)):
        total += gamma**t * float(now @ oracle.rewards(model).mean(axis=1))
        now = now @ oracle.chain(model)
    return total


def score_sum(model: Model, i: int, weight: np.ndarray) -> np.ndarray:
    """sum_z weight(z) grad log zeta_i(a_i|s_i), tabular softmax. [S_i, A_i]"""
    result = np.zeros((model.states[i], len(model.policy[i][0])))
    for k, (s, a) in enumerate(oracle.all_pairs(model)):
        for b in model.legal[i][s[i]]:
            result[s[i], b] += weight[k] * ((a[i] == b) - model.policy[i][s[i]][b])
    return result


def policy_gradient(model: Model, gamma: float, start: np.ndarray) -> list[np.ndarray]:
    """sum_t gamma^t E[(1/n) sum_j Q_j(z(t)) grad log zeta_i(t)]. Per agent [S_i, A_i]"""
    weight = occupancy(model, gamma, start) * q(model, gamma).mean(axis=1)
    return [score_sum(model, i, weight) for i in range(model.n)]


def finite_difference_gradient(model: Model, gamma: float, start: np.ndarray, step: float = 1e-5) -> list[np.ndarray]:
    """Central differences of J^gamma in theta_i[x,b]; zeta' ~ zeta exp(+-step) at b. Per agent [S_i, A_i]"""

    def moved(i: int, x: int, b: int, by: float) -> float:
        zeta = [[list(row) for row in rows] for rows in model.policy]
        zeta[i][x][b] *= math.exp(by)
        total = sum(zeta[i][x])
        zeta[i][x] = [p / total for p in zeta[i][x]]
        return objective(replace(model, policy=zeta), gamma, start)

    result = [np.zeros((model.states[i], len(model.policy[i][0]))) for i in range(model.n)]
    for i in range(model.n):
        for x, b in oracle.local_pairs(model, i):
            result[i][x, b] = (moved(i, x, b, step) - moved(i, x, b, -step)) / (2 * step)
    return result


def truncated_q(model: Model, gamma: float, kappa: int, weights: Sequence[Callable[[oracle.Pair], float]]) -> np.ndarray:
    """(5): at every z the mean of Q_i over the outside of N_i^kappa, in proportion to weights[i](z). [Z, n]

    Uniform where the weights of an inside pair are all zero.
    """
    table, pairs = q(model, gamma), oracle.all_pairs(model)
    result = np.zeros_like(table)
    for i in range(model.n):
        groups: dict[Part, list[int]] = {}
        for k, z in enumerate(pairs):
            groups.setdefault(oracle.part(z, oracle.hops(model, i, kappa)), []).append(k)
        for group in groups.values():
            w = [weights[i](pairs[k]) for k in group]
            if sum(w) == 0:
                w = [1.0] * len(group)
            mean = sum(w[m] * table[k, i] for m, k in enumerate(group)) / sum(w)
            for k in group:
                result[k, i] = mean
    return result


def approximate_gradient(model: Model, gamma: float, start: np.ndarray, kappa: int, qtilde: np.ndarray) -> list[np.ndarray]:
    """h_i = sum_t gamma^t E[(1/n) sum_{j in N_i^kappa} Qtilde_j(z(t)) grad log zeta_i(t)] (7). Per agent [S_i, A_i]"""
    visits, result = occupancy(model, gamma, start), []
    for i in range(model.n):
        near = sum(qtilde[:, j] for j in oracle.hops(model, i, kappa)) / model.n
        result.append(score_sum(model, i, visits * near))
    return result


def worst_left_side(model: Model, gamma: float, i: int, kappa: int) -> float:
    """The largest |Q_i(z) - Q_i(z')| over z, z' that agree on N_i^kappa."""
    groups: dict[Part, list[float]] = {}
    for z, value_there in zip(oracle.all_pairs(model), q(model, gamma)[:, i], strict=True):
        groups.setdefault(oracle.part(z, oracle.hops(model, i, kappa)), []).append(float(value_there))
    return max(max(group) - min(group) for group in groups.values())
