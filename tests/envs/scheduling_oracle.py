"""Scheduling on a conflict graph from the text of its model, in plain loops, and exact averages over all joint states.

`python -m tests.envs.scheduling_oracle` prints the table of docs/systems/scheduling.md.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Links(NamedTuple):
    """near[i]: the links in conflict with link i; buffers, arrival and success probabilities by link."""

    near: list[list[int]]
    buffer: list[int]
    arrival: list[float]
    success: list[float]


def ring(n: int, buffer: int, arrival: float, success: float) -> Links:
    near = [[(i - 1) % n, (i + 1) % n] for i in range(n)]
    return Links(near, [buffer] * n, [arrival] * n, [success] * n)


def law_and_reward(links: Links, i: int, queue: int, sends: int, others: Sequence[int]) -> tuple[list[float], float]:
    """P(s_i' = .) and r_i of link i, where `others` are the actions of its neighbors."""
    passes = links.success[i] if sends and not any(others) else 0.0
    law, lost = [0.0] * (links.buffer[i] + 1), 0.0
    for goes, arrives in itertools.product((0, 1), repeat=2):
        chance = (passes if goes else 1.0 - passes) * (links.arrival[i] if arrives else 1.0 - links.arrival[i])
        if chance > 0.0:
            waiting = queue - goes + arrives
            law[min(waiting, links.buffer[i])] += chance
            lost += chance * max(0, waiting - links.buffer[i])
    return law, -queue / links.buffer[i] - lost


class Joint:
    """All joint states and actions of a small network; a value is an array with an axis for every queue."""

    def __init__(self, links: Links):
        self.n, self.shape = len(links.near), [b + 1 for b in links.buffer]
        self.states = list(itertools.product(*map(range, self.shape)))
        self.actions = list(itertools.product((0, 1), repeat=self.n))
        sends = np.array(self.actions, dtype=bool)
        waits = np.array(self.states) > 0
        self.legal = np.array([waits[:, a].all(axis=1) for a in sends])
        self._moves = [self._move(links, a) for a in self.actions]

    def _move(self, links: Links, a: tuple[int, ...]) -> tuple[list[np.ndarray], np.ndarray]:
        """The matrices of all links under joint action a (rows of an empty queue: as if idle), and the mean reward."""
        matrices, total = [], np.zeros(self.shape)
        for i in range(self.n):
            others = [a[j] for j in links.near[i]]
            rows = [law_and_reward(links, i, s, a[i] if s else 0, others) for s in range(self.shape[i])]
            matrices.append(np.array([law for law, _ in rows]))
            total = total + np.array([r for _, r in rows]).reshape([-1 if k == i else 1 for k in range(self.n)])
        return matrices, total / self.n

    def _backed_up(self, value: np.ndarray) -> np.ndarray:
        """r + P value by joint action, [actions, states]."""
        found = []
        for matrices, reward in self._moves:
            after = value.reshape(self.shape)
            for i, matrix in enumerate(matrices):
                after = np.moveaxis(np.tensordot(matrix, after, axes=(1, i)), 0, i)
            found.append((reward + after).ravel())
        return np.array(found)

    def _iterated(self, choose: Callable[[np.ndarray], np.ndarray]) -> float:
        """Value iteration until the change is the same in all states, to 1e-9: its middle is the average reward."""
        value = np.zeros(len(self.states))
        while True:
            change = choose(self._backed_up(value)) - value
            if np.ptp(change) < 1e-9:
                return float(change.max() + change.min()) / 2
            value = value + change - change[0]

    def optimum(self) -> float:
        return self._iterated(lambda outcomes: np.where(self.legal, outcomes, -np.inf).max(axis=0))

    def average(self, send: Callable[[tuple[int, ...]], Sequence[float]]) -> float:
        """Of the policy by which link i sends with probability send(s)[i], 0 at an empty queue."""
        chances = [send(s) for s in self.states]
        weight = np.array(
            [[math.prod(p if x else 1.0 - p for x, p in zip(a, row, strict=True)) for row in chances] for a in self.actions]
        )
        assert not weight[~self.legal].any()
        return self._iterated(lambda outcomes: (weight * outcomes).sum(axis=0))


def alike(chance: Callable[[int], float]) -> Callable[[tuple[int, ...]], list[float]]:
    """Every link sends with a chance that depends on its own queue."""
    return lambda s: [chance(queue) if queue else 0.0 for queue in s]


def longest_first(links: Links, s: Sequence[int]) -> list[int]:
    """One link after the other, longest queue first, the lower at ties."""
    taken = [0] * len(s)
    for i in sorted(range(len(s)), key=lambda i: (-s[i], i)):
        taken[i] = int(s[i] > 0 and not any(taken[j] for j in links.near[i]))
    return taken


def locally_longest(links: Links, s: Sequence[int]) -> list[int]:
    return [int(s[i] > 0 and all((s[i], -i) > (s[j], -j) for j in links.near[i])) for i in range(len(s))]


def heaviest(links: Links, s: Sequence[int]) -> list[int]:
    """The first maximal independent set, in lexicographic order of its links, with the largest sum of q_i s_i."""
    n = len(s)
    sets = [x for k in range(n + 1) for x in itertools.combinations(range(n), k) if not set(x) & near_of(links, x)]
    maximal = sorted(x for x in sets if set(x) | near_of(links, x) == set(range(n)))
    best = max(maximal, key=lambda x: round(sum(links.success[i] * s[i] for i in x), 9))  # the first of those
    return [int(i in best and s[i] > 0) for i in range(n)]


def near_of(links: Links, some: Sequence[int]) -> set[int]:
    return {j for i in some for j in links.near[i]}


def main() -> None:
    for n, buffer, arrival, success in (4, 2, 0.2, 0.8), (6, 3, 0.2, 0.8):
        links = ring(n, buffer, arrival, success)
        joint = Joint(links)
        print(f"ring of {n}, B = {buffer}, lam = {arrival}, q = {success}")
        print(f"  uniform {joint.average(alike(lambda queue: 0.5)):.4f}")
        scan = [(joint.average(alike(lambda queue, x=x: x)), x) for x in [k / 20 for k in range(1, 21)]]
        print("  best of 20 ALOHA {:.4f} at {}".format(*max(scan)))
        print(f"  queue-based access {joint.average(alike(lambda queue: 1 / (1 + math.exp(2.0 - 0.5 * queue)))):.4f}")
        for rule in locally_longest, longest_first, heaviest:
            print(f"  {rule.__name__} {joint.average(lambda s, rule=rule, links=links: rule(links, s)):.4f}")
        print(f"  optimum {joint.optimum():.4f}", flush=True)


if __name__ == "__main__":
    main()
