"""How many packets a wireless network passes on at most is computed here."""

from typing import Any, Protocol, runtime_checkable

import networkx as nx
from torch import Tensor

from marl.envs.wireless.access import Access


@runtime_checkable
class Users(Protocol):
    """This is what of a `WirelessAccess` enters the bound."""

    access: Access
    num_points: int
    arrival: Tensor
    success: Tensor


def flow_bound(env: Users) -> float:
    """Bounds the average reward per user and step of every policy, centralized ones included, from above.

    In the long run user i delivers at most p_i packets a step, point y passes on at most q_y, and a packet goes through a
    point in reach: the rates are a flow users -> points with these capacities, so the maximal flow / n bounds their sum.
    """
    graph: nx.DiGraph[Any] = nx.DiGraph()
    for user, points in enumerate(env.access):
        graph.add_edge("in", ("user", user), capacity=float(env.arrival[user]))
        graph.add_edges_from((("user", user), ("point", y)) for y in points)  # without capacity: any amount
    for y in range(env.num_points):
        graph.add_edge(("point", y), "out", capacity=float(env.success[y]))
    return float(nx.maximum_flow_value(graph, "in", "out")) / len(env.access)
