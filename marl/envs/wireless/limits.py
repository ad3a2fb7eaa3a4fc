"""The value of a good schedule on a wireless network, and a bound that no policy can pass, are found here."""

from typing import Any

import networkx as nx
import numpy as np
import torch

from marl.envs.wireless.env import WirelessAccess
from marl.envs.wireless.flow import flow_bound

__all__ = ["dedicated_matching", "flow_bound"]


def dedicated_matching(env: WirelessAccess) -> tuple[float, dict[int, int]]:
    """Finds the best way to give every point to at most one user: (average reward per user and step, user -> point).

    A user with a point sends its earliest packet there whenever it has one, the others are silent: nobody collides.
    A matching of maximal weight, where the weight of (i, y) is the exact long-run reward of user i alone at point y.
    """
    graph: nx.Graph[Any] = nx.Graph()
    for user, points in enumerate(env.access):
        for y in points:
            alone = _reward_alone(float(env.arrival[user]), float(env.success[y]), int(env.deadline[user]))
            graph.add_edge(("user", user), ("point", y), weight=alone)
    pairs = [sorted(pair, reverse=True) for pair in nx.max_weight_matching(graph)]  # ("user", i), ("point", y)
    total = sum(graph[user][point]["weight"] for user, point in pairs)
    return total / env.n, {user[1]: point[1] for user, point in pairs}


def _reward_alone(arrival: float, success: float, deadline: int) -> float:
    """Solves for the long-run reward of one user that always sends its earliest packet to a point of its own.

    Where arrival = 0 or 1 the chain still has one recurrent class, so its stationary law is unique.
    """
    lonely = WirelessAccess(incidence=[[0]], deadline=deadline, arrival=arrival, success=success)
    s = torch.arange(2**deadline)[:, None]
    a = (s > 0).long()
    law, reward = lonely.transition(s, a)[:, 0].numpy(), lonely.reward(s, a)[:, 0].numpy()
    balance = np.vstack([law.T - np.eye(len(law)), np.ones(len(law))])
    stationary = np.linalg.lstsq(balance, np.eye(len(law) + 1)[-1])[0]
    return float(stationary @ reward)
