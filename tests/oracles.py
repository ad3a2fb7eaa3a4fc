"""Slow, plain-Python oracles: the paper written out with loops, lists and dicts, to judge the library by.

Standard library only; nothing is imported from the library. "Line k" is line k of Algorithm 1; "appendix E" is the
wireless network of the paper (Qu, Lin, Wierman, Li, NeurIPS 2020). z_i = (s_i, a_i); N_i includes i; n users.
A state is the integer s_i = sum_m e_m 2^(m-1): bit m - 1 is set iff a packet with remaining deadline m is queued.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Pair = tuple[int, int]  # (s_j, a_j)
Key = tuple[Pair, ...]  # the pairs of a neighbourhood, agents in increasing number
Policy = Callable[[int, int], Sequence[float]]  # probs(i, s_i)[a_i]
Uniforms = Sequence[Sequence[float]]  # one step: u[i] = [u0 success, u1 arrival, u2 action]


@dataclass(frozen=True)
class Wireless:
    """The multi-access network of appendix E, written out."""

    access: list[list[int]]  # access[i]: increasing list Y_i of the access points of user i
    arrival: list[float]  # p_i
    success: list[float]  # q_y
    deadline: list[int]  # d_i
    action_set: str  # "earliest" | "any_slot"


def grid_access(rows: int, cols: int, placement: str, users_per_cell: int = 1) -> list[list[int]]:
    """Y_i on a grid of cells: points at the "interior" cell corners only, or at all "corners" (appendix E, fig. 4)."""
    interior = [(x, y) for x in range(1, rows) for y in range(1, cols)]  # row-major
    corners = [(x, y) for x in range(rows + 1) for y in range(cols + 1)]
    number = {place: k for k, place in enumerate({"interior": interior, "corners": corners}[placement])}
    access = []
    for row in range(rows):
        for col in range(cols):
            around = [(row, col), (row, col + 1), (row + 1, col), (row + 1, col + 1)]
            for _ in range(users_per_cell):
                access.append(sorted(number[place] for place in around if place in number))
    return access


def neighbors(model: Wireless) -> list[list[int]]:
    """N_i = {j : Y_i and Y_j meet}, sorted, including i (appendix E)."""
    n = len(model.access)
    return [[j for j in range(n) if j == i or set(model.access[i]) & set(model.access[j])] for i in range(n)]


def hop_neighborhood(adjacent: Sequence[Sequence[int]], i: int, kappa: int) -> list[int]:
    """N_i^kappa: the nodes within graph distance kappa of i, sorted, including i (breadth-first)."""
    distance, queue = {i: 0}, [i]
    while queue:
        j = queue.pop(0)
        for k in adjacent[j]:
            if k not in distance and distance[j] < kappa:
                distance[k] = distance[j] + 1
                queue.append(k)
    return sorted(distance)


def num_actions(model: Wireless, i: int) -> int:
    """|A_i|: null and the points ("earliest"), or null and every (slot, point) ("any_slot")."""
    sends = {"earliest": 1, "any_slot": model.deadline[i]}
    return 1 + sends[model.action_set] * len(model.access[i])


def legal(model: Wireless, i: int, s: int) -> list[int]:
    """The legal actions of user i in its state s: "earliest" allows only null with an empty queue (appendix E)."""
    if model.action_set == "earliest" and s == 0:
        return [0]
    return list(range(num_actions(model, i)))


def attempt(model: Wireless, i: int, s: int, a: int) -> tuple[int | None, int]:
    """(the point user i occupies or None, the value 2^(m-1) of the packet it tries to send or 0).

    "earliest": action j sends the packet with the smallest m to the j-th point; an empty queue makes it null.
    "any_slot": action 1 + (m-1)|Y_i| + (j-1) sends slot m to the j-th point; an empty slot still occupies the point.
    """
    if not 0 <= a < num_actions(model, i):
        raise ValueError((i, a))
    points = model.access[i]
    if a == 0:
        return None, 0
    if model.action_set == "earliest":
        for m in range(1, model.deadline[i] + 1):
            if s & 2 ** (m - 1):
                return points[a - 1], 2 ** (m - 1)
        return None, 0
    slot, j = (a - 1) // len(points) + 1, (a - 1) % len(points)
    return points[j], s & 2 ** (slot - 1)


def _success_probability(model: Wireless, s: Sequence[int], a: Sequence[int], i: int) -> float:
    """q_y if user i sends a packet to y and no other user occupies y, otherwise 0 (appendix E)."""
    point, packet = attempt(model, i, s[i], a[i])
    if point is None or packet == 0:
        return 0.0
    for j in range(len(model.access)):
        if j != i and attempt(model, j, s[j], a[j])[0] == point:
            return 0.0
    return model.success[point]


def _next_queue(model: Wireless, i: int, s: int, sent: int, arrives: bool) -> int:
    """The sent packet leaves, every deadline drops by one, a packet at 0 is discarded, a new one enters with d_i."""
    after = 0
    for m in range(2, model.deadline[i] + 1):  # a packet at m = 1 is sent or discarded
        if s & 2 ** (m - 1) and sent != 2 ** (m - 1):
            after += 2 ** (m - 2)  # remaining deadline m - 1
    if arrives:
        after += 2 ** (model.deadline[i] - 1)
    return after


def wireless_reset(model: Wireless, u: Uniforms) -> list[int]:
    """Start of a run: user i holds one fresh packet (remaining deadline d_i) iff u[i][1] < p_i."""
    return [2 ** (model.deadline[i] - 1) if u[i][1] < model.arrival[i] else 0 for i in range(len(model.access))]


def wireless_step(model: Wireless, s: Sequence[int], a: Sequence[int], u: Uniforms) -> tuple[list[int], list[float]]:
    """(s', r): u[i][0] < q_y decides user i's transmission, u[i][1] < p_i its arrival (appendix E)."""
    s_next, r = [], []
    for i in range(len(model.access)):
        delivered = u[i][0] < _success_probability(model, s, a, i)
        sent = attempt(model, i, s[i], a[i])[1] if delivered else 0
        s_next.append(_next_queue(model, i, s[i], sent, u[i][1] < model.arrival[i]))
        r.append(1.0 if delivered else 0.0)
    return s_next, r


def wireless_joint(model: Wireless, s: Sequence[int], a: Sequence[int]) -> list[dict[tuple[int, float], float]]:
    """Per user the exact law of (s'_i, r_i) given (s, a); outcomes of probability 0 are left out."""
    laws = []
    for i in range(len(model.access)):
        packet = attempt(model, i, s[i], a[i])[1]
        q, p = _success_probability(model, s, a, i), model.arrival[i]
        law: dict[tuple[int, float], float] = {}
        for reward, sent, chance in [(1.0, packet, q), (0.0, 0, 1 - q)]:
            for arrives, chance_of_arrival in [(True, p), (False, 1 - p)]:
                probability = chance * chance_of_arrival
                if probability > 0:
                    outcome = (_next_queue(model, i, s[i], sent, arrives), reward)
                    law[outcome] = law.get(outcome, 0.0) + probability
        laws.append(law)
    return laws


def wireless_transition(model: Wireless, s: Sequence[int], a: Sequence[int]) -> list[list[float]]:
    """[i][s'_i]: P_i(s'_i | z), each row of length 2^d_i (equation (1) in z-chain form)."""
    rows = []
    for i, law in enumerate(wireless_joint(model, s, a)):
        rows.append([0.0] * 2 ** model.deadline[i])
        for (s_next, _), probability in law.items():
            rows[i][s_next] += probability
    return rows


def wireless_reward(model: Wireless, s: Sequence[int], a: Sequence[int]) -> list[float]:
    """[i]: E[r_i | z], the probability that user i delivers a packet (appendix E)."""
    return [_success_probability(model, s, a, i) for i in range(len(model.access))]


def softmax_probs(theta_row: Sequence[float], legal_actions: Sequence[int]) -> list[float]:
    """zeta_i(a | s) = exp(theta_a) / sum_b exp(theta_b), b over the legal actions; 0 for the other actions."""
    top = max(theta_row[a] for a in legal_actions)
    weight = [math.exp(theta_row[a] - top) if a in legal_actions else 0.0 for a in range(len(theta_row))]
    return [w / sum(weight) for w in weight]


def inverse_cdf(probs: Sequence[float], u: float) -> int:
    """The smallest a with u < probs[0] + ... + probs[a]; the last a of positive probability if rounding leaves none."""
    cumulative = 0.0
    for a, probability in enumerate(probs):
        cumulative += probability
        if u < cumulative:
            return a
    return max(a for a, probability in enumerate(probs) if probability > 0)


@dataclass
class Algorithm1Result:
    """theta(T), mu^T, Q^T, and what happened at every step."""

    theta: list[list[list[float]]]  # [i][s][a]
    mu: list[float]  # [i]
    q: list[dict[Key, float]]  # [i]: every updated neighbourhood pair (a value may be 0.0), never the dummy pair
    rewards: list[list[float]]  # [t][i], t = 0..T-1
    states: list[list[int]]  # [t][i], t = 0..T
    actions: list[list[int]]  # [t][i], t = 0..T


def algorithm1(
    model: Wireless, kappa: int, uniforms: Sequence[Uniforms], alpha: Callable[[int], float],
    eta: Callable[[int], float], dummy: Sequence[Key] | None = None, rescale: bool = False
) -> Algorithm1Result:  # fmt: skip
    """Algorithm 1 from theta(0) = 0; uniforms[0] draws s(0), a(0); uniforms[t+1] drives step t, t = 0..T-1.

    u0, u1 go to wireless_reset / wireless_step, u2 draws the action by inverse_cdf. Every right-hand side below is
    read at time t (theta, mu, q); the values of time t + 1 replace those of time t only at the end of the step.
    """
    agents = range(len(model.access))
    adjacent = neighbors(model)
    hop = [hop_neighborhood(adjacent, i, kappa) for i in agents]
    theta = [[[0.0] * num_actions(model, i) for _ in range(2 ** model.deadline[i])] for i in agents]
    mu = [0.0 for _ in agents]
    q: list[dict[Key, float]] = [{} for _ in agents]  # an absent pair has the value 0, and so the dummy pair has

    def policy(i: int, state: int) -> list[float]:
        return softmax_probs(theta[i][state], legal(model, i, state))

    def pair(i: int, states: list[int], actions: list[int]) -> Key:
        return tuple((states[j], actions[j]) for j in hop[i])

    s = wireless_reset(model, uniforms[0])  # line 1
    a = [inverse_cdf(policy(i, s[i]), uniforms[0][i][2]) for i in agents]
    rewards, all_states, all_actions = [], [s], [a]
    for t in range(len(uniforms) - 1):  # line 2
        u = uniforms[t + 1]
        s_next, r = wireless_step(model, s, a, u)  # line 3
        a_next = [inverse_cdf(policy(i, s_next[i]), u[i][2]) for i in agents]  # line 4, at theta(t)
        z = [pair(i, s, a) for i in agents]
        z_next = [pair(i, s_next, a_next) for i in agents]

        mu_new = [(1 - alpha(t)) * mu[i] + alpha(t) * r[i] for i in agents]  # line 5
        target = [r[i] - mu[i] + q[i].get(z_next[i], 0.0) for i in agents]  # line 6, with mu^t and Q^t
        entry_new = [(1 - alpha(t)) * q[i].get(z[i], 0.0) + alpha(t) * target[i] for i in agents]
        gamma = 1.0  # Gamma(Q^t) of line 8
        if rescale:
            gamma = 1 / (1 + max(abs(value) for table in q for value in [0.0, *table.values()]))
        theta_new = [[list(row) for row in table] for table in theta]
        for i in agents:
            weight = sum(q[j].get(z[j], 0.0) for j in hop[i]) / len(agents)  # line 7, with Q^t
            probs = policy(i, s[i])  # the score at theta(t), although a(t) was drawn one step before
            for b in legal(model, i, s[i]):
                score = (1.0 if b == a[i] else 0.0) - probs[b]
                theta_new[i][s[i]][b] = theta[i][s[i]][b] + eta(t) * gamma * score * weight  # line 8

        for i in agents:
            if dummy is None or z[i] != dummy[i]:  # line 6 leaves everything alone at the dummy pair
                q[i][z[i]] = entry_new[i]
        theta, mu, s, a = theta_new, mu_new, s_next, a_next
        rewards.append(r)
        all_states.append(s)
        all_actions.append(a)
    return Algorithm1Result(theta, mu, q, rewards, all_states, all_actions)


def average_policy_rollout(model: Wireless, probs: Policy, uniforms: Sequence[Uniforms]) -> float:
    """Equation (2) by simulation: mean over steps and users of r_i(t), policy fixed; uniforms as in algorithm1."""
    agents = range(len(model.access))
    s = wireless_reset(model, uniforms[0])
    a = [inverse_cdf(probs(i, s[i]), uniforms[0][i][2]) for i in agents]
    total = 0.0
    for u in uniforms[1:]:
        s, r = wireless_step(model, s, a, u)
        a = [inverse_cdf(probs(i, s[i]), u[i][2]) for i in agents]
        total += sum(r)
    return total / ((len(uniforms) - 1) * len(agents))
