"""The episodic discounted actor-critic in plain loops over dicts, to judge `DiscountedActorCritic` by.

Qu, Wierman and Li, "Scalable Reinforcement Learning of Localized Policies for Multi-Agent Networked Systems" (L4DC 2020).
Standard library only. z_i = (s_i, a_i); n agents; a set of agents is a sorted list.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.oracles import Key, Uniforms, inverse_cdf, softmax_probs

State = list[int]  # one number per agent
Sizes = Callable[[int], float]


@dataclass(frozen=True)
class Model:
    """What is sampled, and who sees whom."""

    hop: list[list[int]]  # N_i^kappa, including i
    actions: list[int]  # |A_i|
    legal: list[list[list[int]]]  # [i][s_i]: the legal actions
    reset: Callable[[Uniforms], State]
    step: Callable[[State, State, Uniforms], tuple[State, list[float]]]


@dataclass
class Result:
    """theta(M), Q, the pairs that were met, the return of every episode, and z(0) of episode M."""

    theta: list[list[list[float]]]  # [i][s][a]
    q: list[dict[Key, float]]  # [i]: every updated pair, never the dummy pair
    met: list[set[Key]]  # [i]: every visited pair
    returns: list[float]  # [m]
    s: State
    a: State


def discounted_actor_critic(
    model: Model, horizon: int, episodes: int, gamma: float, alpha: Sizes, eta: Sizes,
    uniforms: Sequence[Uniforms], starts: Sequence[Uniforms], dummy: Sequence[Key] | None = None
) -> Result:  # fmt: skip
    """M episodes of T steps from theta(0) = 0, Q = 0.

    uniforms[k + 1] drives environment step k = m T + t. uniforms[0] draws z(0) of episode 0, starts[m] that of episode m.
    The last uniform of an agent draws its action, the others go to the model.
    """
    agents = range(len(model.hop))
    theta = [[[0.0] * model.actions[i] for _ in model.legal[i]] for i in agents]
    q: list[dict[Key, float]] = [{} for _ in agents]  # an absent pair has the value 0, and so the dummy pair has
    met: list[set[Key]] = [set() for _ in agents]
    returns = []

    def probs(i: int, state: int) -> list[float]:
        return softmax_probs(theta[i][state], model.legal[i][state])

    def draw(s: State, u: Uniforms) -> State:
        return [inverse_cdf(probs(i, s[i]), u[i][-1]) for i in agents]

    def keys(s: State, a: State) -> list[Key]:
        z = [tuple((s[j], a[j]) for j in model.hop[i]) for i in agents]
        for i in agents:
            met[i].add(z[i])
        return z

    def value(i: int, z: list[Key]) -> float:
        return q[i].get(z[i], 0.0)

    for m in range(episodes + 1):
        u = uniforms[0] if m == 0 else starts[m]
        s = model.reset([row[:-1] for row in u])
        a = draw(s, u)
        z = keys(s, a)
        if m == episodes:
            break
        visited = []  # (s(t), a(t), z(t)), t = 0..T-1
        earned = 0.0
        for t in range(horizon):
            k = m * horizon + t
            u = uniforms[k + 1]
            s_next, r = model.step(s, a, [row[:-1] for row in u])
            a_next = draw(s_next, u)  # theta(m): it does not change inside an episode
            z_next = keys(s_next, a_next)
            delta = [r[i] + gamma * value(i, z_next) - value(i, z) for i in agents]  # Q before the update, at both pairs
            for i in agents:
                if dummy is None or z[i] != dummy[i]:
                    q[i][z[i]] = value(i, z) + alpha(k) * delta[i]
            earned += gamma**t * sum(r) / len(r)
            visited.append((s, a, z))
            s, a, z = s_next, a_next, z_next
        returns.append(earned)

        step = [[[0.0] * len(row) for row in table] for table in theta]
        for t, (s, a, z) in enumerate(visited):
            for i in agents:
                weight = sum(value(j, z) for j in model.hop[i]) / len(model.hop)  # Q after the T inner updates
                zeta = probs(i, s[i])
                for b in model.legal[i][s[i]]:
                    step[i][s[i]][b] += gamma**t * weight * ((1.0 if b == a[i] else 0.0) - zeta[b])
        for i in agents:
            for state, row in enumerate(step[i]):
                for b, g in enumerate(row):
                    theta[i][state][b] += eta(m) * g
    return Result(theta, q, met, returns, s, a)
