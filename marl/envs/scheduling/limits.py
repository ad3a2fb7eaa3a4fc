"""What loads a conflict graph can carry is computed here, by linear programming over its maximal independent sets.

From that follows what no schedule can pass.
"""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

import networkx as nx
import numpy as np
from torch import Tensor

from marl.core.errors import ConfigError
from marl.core.network import Network
from marl.envs.alone import Alone, relaxed

MAX_LINKS = 30
"""Most links whose maximal independent sets are listed: there are at most 3^(n/3) = 59,049 of them."""
_ROUNDING = 1e-9


@runtime_checkable
class Links(Protocol):
    """This is what of a `Scheduling` enters the limits."""

    network: Network
    buffer: Tensor
    arrival: Tensor
    success: Tensor


def maximal_independent_sets(network: Network) -> np.ndarray:
    """Lists the sets of links that can send together and that no other link fits into, [M, n] bool.

    They stand in lexicographic order of their links. Errors: `ConfigError` beyond 30 links.
    """
    if network.n > MAX_LINKS:
        raise ConfigError(
            f"the independent sets of {network.n} links are too many to list (at most {MAX_LINKS} links); "
            "choose a smaller env.graph, or policy=longest_queue_first"
        )
    found = sorted(sorted(links) for links in nx.find_cliques(nx.complement(network.to_networkx())))
    sets = np.zeros((len(found), network.n), dtype=bool)
    for row, links in zip(sets, found, strict=True):
        row[links] = True
    return sets


def capacity(env: Links) -> float:
    """Finds the largest x such that the arrival rates x lam_i can be carried by some way of scheduling.

    The capacity region (Tassiulas and Ephremides 1992) is the convex hull of the independent sets, link i scaled by q_i,
    and what lies below it. Above 1, max-weight would keep queues without a bound stable; below 1, no rule would. By
    duality 1 / x = max sum_i (lam_i / q_i) y_i over y >= 0 with sum_{i in I} y_i <= 1 for every maximal independent set I,
    solved by the simplex method, each connected part alone. It is inf where nothing arrives, 0 where some link with
    arrivals cannot send.

    Errors: `ConfigError` if a connected part has more than 30 links.
    """
    lam, q = env.arrival.numpy(), env.success.numpy()
    if (lam[q == 0.0] > 0.0).any():
        return 0.0
    load = np.divide(lam, q, out=np.zeros(len(q)), where=q > 0.0)
    needed = max(float(load[links] @ _packed(sets.astype(float), load[links])) for links, sets in _parts(env.network))
    return 1.0 / needed if needed > 0.0 else np.inf


def links_alone(env: Links) -> float:
    """Bounds the average reward per link and slot of every policy, centralized ones included, from above.

    Links send when they like and never fail for a neighbor; but in every connected part the sends, weighted with some y,
    are at most max over independent sets of sum y a slot, on average. y is that of `capacity` or one for all links: the
    lower bound counts. docs/systems/scheduling.md proves it.

    Errors: `ConfigError` if a connected part has more than 30 links.
    """
    lam, q, total = env.arrival.numpy(), env.success.numpy(), 0.0
    load = np.divide(lam, q, out=np.zeros(len(q)), where=q > 0.0)
    for links, sets in _parts(env.network):
        bounds = []
        for y in _packed(sets.astype(float), load[links]), np.ones(len(links)):
            alone = [_link(int(env.buffer[i]), lam[i], q[i], weight) for i, weight in zip(links, y, strict=True)]
            bounds.append(relaxed(alone, float((sets @ y).max())))
        total += min(bounds)
    return total / len(q)


def _link(buffer: int, lam: float, q: float, weight: float) -> Alone:
    """Makes a link whose moves are: idle, send without a conflict."""
    queue = np.arange(buffer + 1)
    law, reward = np.zeros((2, buffer + 1, buffer + 1)), np.zeros((2, buffer + 1))
    for move, chance in enumerate((np.zeros(buffer + 1), q * (queue > 0))):
        reward[move] = -queue / buffer - (queue == buffer) * lam * (1.0 - chance)
        for left, p in (np.maximum(queue - 1, 0), chance), (queue, 1.0 - chance):
            np.add.at(law[move], (queue, np.minimum(left + 1, buffer)), p * lam)
            np.add.at(law[move], (queue, left), p * (1.0 - lam))
    return Alone(law, reward, np.array([0.0, weight]))


def _parts(network: Network) -> Iterator[tuple[list[int], np.ndarray]]:
    """Lists the connected parts: their links, and which of these are in each of their maximal independent sets."""
    graph = network.to_networkx()
    for part in nx.connected_components(graph):
        links = sorted(part)
        numbers = {link: k for k, link in enumerate(links)}
        yield links, maximal_independent_sets(Network.from_networkx(nx.relabel_nodes(graph.subgraph(links), numbers)))


def _packed(rows: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Finds y >= 0 with rows y <= 1 of largest gain . y, by the simplex method from y = 0 with Bland's rule (no cycles).

    The table has a row per constraint and one for the objective, a column per variable outside the basis and one for
    the right side. Shapes: rows [M, n], gain [n] -> [n].
    """
    count, n = rows.shape
    table = np.vstack([np.column_stack([rows, np.ones(count)]), np.append(-gain, 0.0)])
    outside, basis = np.arange(n), n + np.arange(count)
    while (entering := np.flatnonzero(table[-1, :-1] < -_ROUNDING)).size:
        column = int(entering[outside[entering].argmin()])
        able = np.flatnonzero(table[:-1, column] > _ROUNDING)
        ratio = table[able, -1] / table[able, column]
        least = able[ratio <= ratio.min() + _ROUNDING]
        row = int(least[basis[least].argmin()])
        outside[column], basis[row] = basis[row], outside[column]
        _pivot(table, row, column)
    y = np.zeros(n + count)
    y[basis] = np.maximum(table[:-1, -1], 0.0)
    return y[:n]


def _pivot(table: np.ndarray, row: int, column: int) -> None:
    """Lets the variable of the column and that of the row change places."""
    pivot, others = table[row, column], table[:, column].copy()
    table[:, column] = 0.0
    table[row, column] = 1.0
    table[row] /= pivot
    others[row] = 0.0
    table -= np.outer(others, table[row])
