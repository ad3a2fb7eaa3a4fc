"""Clusters are groups of agents with what their laws see of the agents around them; clusters that overlap must agree.

A view tells pairs of some agents apart: it holds, for each of them, a class number for every pair.
"""

import math
from collections.abc import Sequence

import networkx as nx
import numpy as np

from marl.exact.local_laws import LocalLaws

View = dict[int, np.ndarray]


class Sight:
    """This says which pairs of a neighbor an agent's law and reward tell apart: those with equal tables are one class."""

    def __init__(self, laws: LocalLaws):
        self.laws = laws
        self._found: dict[tuple[int, int], np.ndarray] = {}

    def classes(self, i: int, j: int) -> np.ndarray:
        """Numbers the classes of agent j's pairs that agent i tells apart. Shapes: [|Z_j|]."""
        if (i, j) not in self._found:
            laws, place = self.laws, self.laws.neighbors[i].index(j)
            seen = [_slices(laws.law[i], place)[laws.seen(i, j, np.arange(laws.num_pairs[j]))]]
            if not laws.env.private_rewards:
                seen.append(_slices(laws.reward[i], place))
            self._found[i, j] = together(seen)
        return self._found[i, j]


class Cluster:
    """This is a group D of agents and what their laws see of the others in N(D), the union of N_i over i in D.

    group: D, increasing. agents: N(D), increasing. view: pairs of agents in D are all told apart, those of the others as
    far as some i in D does. A cell is one class of each agent; shape: the numbers of classes; size: the number of cells.
    """

    def __init__(self, sight: Sight, group: Sequence[int]):
        self.laws, self.group = sight.laws, list(group)
        self.agents = sorted({j for i in group for j in self.laws.neighbors[i]})
        self.view: View = {}
        for j in self.agents:
            seen = [sight.classes(i, j) for i in group if j in self.laws.neighbors[i]]
            self.view[j] = np.arange(self.laws.num_pairs[j]) if j in group else together(seen)
        self._pair = {j: np.unique(classes, return_index=True)[1] for j, classes in self.view.items()}  # one of every class
        self.shape = [len(self._pair[j]) for j in self.agents]
        self.size = math.prod(self.shape)

    @property
    def num_next(self) -> int:
        """Returns a number that the next states of the group from one cell do not exceed."""
        return math.prod(int((self.laws.law[i] > 0.0).sum(axis=-1).max()) for i in self.group)

    def number(self, view: View) -> np.ndarray:
        """Numbers what a coarser view makes of every cell, in mixed radix. Shapes: [size]."""
        number = np.zeros(self.shape, dtype=np.int64)
        for j, classes in view.items():
            number = number * (int(classes.max()) + 1) + self._along(classes[self._pair[j]], [j])
        return number.ravel()

    def states(self) -> View:
        """Gives the view of the group's states."""
        return {i: self.laws.pair_state[i] for i in self.group}

    def next_states(self) -> tuple[np.ndarray, np.ndarray]:
        """Gives the next states of the group from every cell, numbered as by `states`, and their probabilities.

        Shapes: [size, num_next] each; some may have probability 0.
        """
        number, chance = np.zeros((*self.shape, 1), dtype=np.int64), np.ones((*self.shape, 1))
        for i in self.group:
            near = self.laws.neighbors[i]
            law = self.laws.law[i][np.ix_(*[self.laws.seen(i, j, self._pair[j]) for j in near])]
            width = int((self.laws.law[i] > 0.0).sum(axis=-1).max())
            likely = np.argsort(law == 0.0, axis=-1, kind="stable")[..., :width]
            moved, weight = (self._along(x, near) for x in (likely, np.take_along_axis(law, likely, axis=-1)))
            number = (number[..., None] * self.laws.num_states[i] + moved[..., None, :]).reshape(*self.shape, -1)
            chance = (chance[..., None] * weight[..., None, :]).reshape(*self.shape, -1)
        return number.reshape(self.size, -1), chance.reshape(self.size, -1)

    def reward(self, i: int) -> np.ndarray:
        """Gives E[r_i | z_{N_i}] in every cell, i in the group. Shapes: [size]."""
        near = [i] if self.laws.env.private_rewards else self.laws.neighbors[i]
        paid = self.laws.reward[i][np.ix_(*[self._pair[j] for j in near])]
        return np.broadcast_to(self._along(paid, near), self.shape).ravel()

    def _along(self, table: np.ndarray, agents: Sequence[int]) -> np.ndarray:
        """Lays the axes of a table, one for each of the agents and further ones, along those of the cluster."""
        sizes = [len(self._pair[j]) if j in agents else 1 for j in self.agents]
        return table.reshape(*sizes, *table.shape[len(agents) :])


def groups(laws: LocalLaws, order: int, most: int) -> list[tuple[int, ...]] | None:
    """Lists the connected sets of `order` agents, and connected parts that are smaller; None if there are over `most`."""
    found: set[tuple[int, ...]] = {(i,) for i in range(laws.n)}
    for _ in range(order - 1):
        larger: set[tuple[int, ...]] = set()
        for group in found:
            around = {j for i in group for j in laws.neighbors[i]} - set(group)
            larger |= {tuple(sorted((*group, j))) for j in around} or {group}
            if len(larger) > most:
                return None
        found = larger
    return sorted(found)


def agreements(clusters: list[Cluster]) -> list[tuple[int, int, View]]:
    """Lists pairs of clusters with their finest common view, but for those that a chain of pairs listed before implies."""
    holding: dict[int, list[int]] = {}
    for k, cluster in enumerate(clusters):
        for j in cluster.agents:
            holding.setdefault(j, []).append(k)
    pairs = sorted({(a, b) for place in holding.values() for k, b in enumerate(place) for a in place[:k]})
    common = [(a, b, _common(clusters[a].view, clusters[b].view)) for a, b in pairs]
    listed: list[tuple[int, int, View]] = []
    graph: nx.Graph[int] = nx.empty_graph(len(clusters))
    for a, b, view in sorted(common, key=lambda pair: (-classes_of(pair[2]), *pair[:2])):
        if view and not _chained(graph, a, b, view):
            graph.add_edge(a, b, view=view)
            listed.append((a, b, view))
    return listed


def classes_of(view: View) -> int:
    """Counts the joint classes of a view."""
    return math.prod(int(classes.max()) + 1 for classes in view.values())


def together(views: Sequence[np.ndarray]) -> np.ndarray:
    """Numbers the classes of pairs that some of the views tell apart. Shapes: [|Z|] each."""
    return np.unique(np.stack(views), axis=1, return_inverse=True)[1].ravel()


def _slices(table: np.ndarray, axis: int) -> np.ndarray:
    """Numbers the different slices of a table along an axis."""
    number: dict[bytes, int] = {}
    return np.array([number.setdefault(part.tobytes(), len(number)) for part in np.moveaxis(table, axis, 0)])


def _common(one: View, other: View) -> View:
    """Gives the finest view that both refine: classes that share a pair are one. Agents with one class are left out."""
    found: View = {}
    for j in one.keys() & other.keys():
        graph = nx.Graph(zip(one[j].tolist(), (-1 - other[j]).tolist(), strict=True))
        number = {x: k for k, part in enumerate(nx.connected_components(graph)) for x in part}
        if max(number.values()) > 0:
            found[j] = np.array([number[x] for x in one[j].tolist()])
    return dict(sorted(found.items()))


def _chained(graph: "nx.Graph[int]", a: int, b: int, view: View) -> bool:
    """Tells whether edges whose views refine this one lead from a to b."""
    reached, todo = {a}, [a]
    while todo and b not in reached:
        for k, edge in graph[todo.pop()].items():
            if k not in reached and _refines(edge["view"], view):
                reached.add(k)
                todo.append(k)
    return b in reached


def _refines(fine: View, coarse: View) -> bool:
    return all(j in fine and len(np.unique(fine[j])) == together([fine[j], coarse[j]]).max() + 1 for j in coarse)
