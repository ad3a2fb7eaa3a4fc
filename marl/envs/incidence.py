"""An incidence says which shared things (access points, crews) every agent reaches; agents that share one are neighbors."""

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from marl.core.checks import integer
from marl.core.errors import ConfigError
from marl.core.files import located

MAX_THINGS = 2**26
MAX_UNUSED = 2**10
"""Numbers of things that nobody reaches may be so many: a step takes time for all numbers up to the highest."""
MAX_PAIRS = 2**26
"""Largest number of pairs of agents that share a thing, a pair counted at every thing (1 GiB)."""

Incidence = list[list[int]]
"""incidence[i]: the things that agent i reaches, increasing."""


class Words(NamedTuple):
    """These are the words of an environment for its agents and shared things, in what is said to users."""

    setting: str  # env.incidence
    agent: str  # user
    thing: str  # access point
    a_thing: str  # an access point


def listed(source: Any, words: Words) -> Incidence:
    """Reads a list with one list of thing numbers per agent, or the JSON file of one whose path is given."""
    setting, agent, thing, a_thing = words
    if isinstance(source, (str, Path)):
        try:
            source = json.loads(located(source).read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError) as error:
            raise ConfigError(f"{setting} file {source!r} cannot be read as JSON: {error}") from None
    if not isinstance(source, Iterable) or isinstance(source, dict):
        raise ConfigError(f"{setting} must be a list with one list of {thing}s per {agent}, got {source!r}")
    incidence = []
    for i, things in enumerate(source):
        if not isinstance(things, Iterable) or isinstance(things, (str, dict)):
            raise ConfigError(f"{setting}[{i}] must be a list of {thing}s, got {things!r}")
        numbers = [integer(f"{setting}[{i}]", k, 0) for k in things]
        if len(set(numbers)) != len(numbers):
            raise ConfigError(f"{setting}[{i}] names {a_thing} twice: {numbers}")
        incidence.append(sorted(numbers))
    if not incidence:
        raise ConfigError(f"{setting} must list at least one {agent}")
    most = min(MAX_THINGS, MAX_UNUSED + len(set(itertools.chain.from_iterable(incidence))))
    for i, numbers in enumerate(incidence):
        if max(numbers, default=0) >= most:
            raise ConfigError(f"{setting}[{i}] names {thing} {max(numbers)}; number them from 0 without gaps")
    refuse_idle(incidence, words)
    return incidence


def refuse_idle(incidence: Incidence, words: Words, hint: str = "") -> None:
    """Refuses agents that reach nothing."""
    for i, things in enumerate(incidence):
        if not things:
            raise ConfigError(f"{words.agent} {i} has no {words.thing} in reach{hint}")


def flattened(incidence: Incidence) -> tuple[np.ndarray, np.ndarray]:
    """Returns how many things every agent reaches, [n], and those of all agents in one row."""
    reach = np.fromiter(map(len, incidence), dtype=np.int64, count=len(incidence))
    return reach, np.fromiter(itertools.chain.from_iterable(incidence), dtype=np.int64, count=int(reach.sum()))


def sharing_edges(incidence: Incidence, words: Words) -> np.ndarray:
    """Lists the pairs [E, 2] of agents that share a thing, once for every thing that they share, the smaller first."""
    reach, thing = flattened(incidence)
    agent = np.repeat(np.arange(len(incidence)), reach)
    count = np.bincount(thing)
    if (pairs := int((count * (count - 1) // 2).sum())) > MAX_PAIRS:
        raise ConfigError(
            f"{pairs:.3g} pairs of {words.agent}s share {words.a_thing}, at most {MAX_PAIRS} can be held; "
            f"give fewer {words.agent}s {words.a_thing}"
        )
    order = np.argsort(thing, kind="stable")
    agent, thing = agent[order], thing[order]
    found = [np.empty((0, 2), dtype=np.int64)]
    for apart in range(1, int(count.max(initial=1))):  # agents of one thing stand together, increasing
        shared = thing[apart:] == thing[:-apart]
        found.append(np.stack([agent[:-apart][shared], agent[apart:][shared]], axis=1))
    return np.concatenate(found)
