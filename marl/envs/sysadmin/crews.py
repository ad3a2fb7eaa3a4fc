"""Crews reach machines through an incidence: a short name or a number stands for the usual ones, or lists of one's own."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from marl.core.checks import integer
from marl.core.errors import ConfigError
from marl.core.files import located
from marl.core.network import Network
from marl.envs.incidence import Incidence, Words, listed

ALLOWED = "edges, own, a number of crews, a list with the crews of every machine, or the path of a JSON file of one"
WORDS = Words("env.crews", "machine", "crew", "a crew")


def reached_crews(crews: Any, graph: Network) -> Incidence:
    """Lists the crews that every machine reaches, increasing.

    crews: "edges": crew k stands at edge k of the graph and reaches its two ends; a machine without an edge has a crew of
    its own. "own": machine i has crew i alone. A number c: machines in their order fall into c runs of n/c, rounded, and
    crew k reaches the k-th. Else a list with the list of crews of every machine, or the path of a JSON file of one.
    """
    n = graph.n
    if isinstance(crews, str) and crews == "own":
        return [[i] for i in range(n)]
    if isinstance(crews, str) and crews == "edges":
        return _at_edges(graph)
    if np.isscalar(crews) and not isinstance(crews, str):
        count = integer("env.crews", crews, 1)
        if count > n:
            raise ConfigError(f"env.crews={count} are more crews than the {n} machines; env.crews=own gives each its own")
        return [[i * count // n] for i in range(n)]
    if crews is None or (isinstance(crews, (str, Path)) and not os.path.exists(located(crews))):
        raise ConfigError(f"env.crews must be {ALLOWED}, got {crews!r}")
    incidence = listed(crews, WORDS)
    if len(incidence) != n:
        raise ConfigError(f"env.crews needs {n} lists of crews, one for each machine, got {len(incidence)}")
    return incidence


def _at_edges(graph: Network) -> Incidence:
    reached: Incidence = [[] for _ in range(graph.n)]
    for crew, (i, j) in enumerate(graph.edges.tolist()):
        reached[i].append(crew)
        reached[j].append(crew)
    alone = [crews for crews in reached if not crews]
    for crew, crews in enumerate(alone, len(graph.edges)):
        crews.append(crew)
    return reached
