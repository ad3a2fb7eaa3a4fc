"""A setting names its graph: `env.graph=line:10`, `env.graph=grid:2x6`, `env.graph=karate`, `env.graph=my_graph.txt`."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from marl.core.errors import ConfigError, NetworkError
from marl.core.files import located
from marl.core.network import Network
from marl.graphs import named
from marl.graphs.topologies import WRITTEN

MAX_AGENTS = 2**24
"""Largest n that a short name may ask for; a slip of a digit should not fill the memory."""

_COUNT, _PAIR = r"(\d+)", r"(\d+)x(\d+)"
_GEOMETRIC = r"(\d+):([^:]+)(?::(\d+))?"

FORMS: dict[str, tuple[str, Callable[..., Network]]] = {  # name -> (pattern, what it makes)
    "line": (_COUNT, Network.line),
    "ring": (_COUNT, Network.ring),
    "grid": (_PAIR, Network.grid),
    "king": (_PAIR, Network.king),
    "geometric": (_GEOMETRIC, Network.random_geometric),
}


def graph(spec: str | Path | Network, *, connected: bool = True) -> Network:
    """Makes the network that `spec` names.

    A `Network` is returned as it is. "line:10", "ring:8", "grid:2x6", "king:5x5", "geometric:50:0.2" and
    "geometric:50:0.2:7" (n, radius, seed = 0) are the standard graphs; "karate", "germany50" and the others that
    `marl graphs` lists are well-known ones (see `Network.named`); anything else is the path of a graph file
    (see `Network.from_file`; it must be connected, unless `connected=False`). A name stands for its graph whatever lies
    in the directory: a file that is called `karate` is `./karate`, and a `Path` is always a file.

    Errors: `ConfigError` if `spec` is no such name and no file; `NetworkError` if the graph itself cannot be.
    """
    if isinstance(spec, Network):
        return spec
    if not isinstance(spec, (str, Path)):
        raise ConfigError(f"env.graph must be {_allowed()}, got {spec!r}")
    name, colon, rest = str(spec).partition(":")
    if colon and name in FORMS:
        return _formed(str(spec), name, rest.replace(" ", ""))
    if isinstance(spec, str) and spec in named.NAMES:
        try:
            return Network.named(spec)
        except NetworkError as error:
            raise NetworkError(f"env.graph: {error}") from None
    file = located(spec)
    if not str(spec) or not os.path.exists(file):  # not Path.exists, which raises on names that no file can have
        raise ConfigError(f"env.graph={str(spec)!r} is no file{_like(str(spec))}; it must be {_allowed()}")
    return Network.from_file(file, connected=connected)


def _formed(spec: str, name: str, rest: str) -> Network:
    pattern, make = FORMS[name]
    match = re.fullmatch(pattern, rest)
    kinds = (int, float, int) if pattern == _GEOMETRIC else (int, int)
    try:
        values = [kind(text) for kind, text in zip(kinds, match.groups(), strict=False) if text] if match else []
    except ValueError:  # a radius that is no number, or an integer of thousands of digits
        values = []
    if not values:
        raise ConfigError(
            f"env.graph={spec!r} cannot be read; write {WRITTEN[name]}, with whole numbers for sizes and seeds"
        )
    agents = values[0] * values[1] if pattern == _PAIR else values[0]
    if agents > MAX_AGENTS:
        raise ConfigError(f"env.graph={spec!r} has {agents:.3g} agents; at most {MAX_AGENTS} can be asked for by name")
    try:
        return make(*values)
    except ConfigError as error:
        raise NetworkError(f"env.graph={spec!r}: {error}") from None


def _like(spec: str) -> str:
    """Returns a clause with the names and forms that are like this one, or nothing."""
    return named.suggestion(spec.partition(":")[0], [*named.NAMES, *WRITTEN], WRITTEN)


def _allowed() -> str:
    return (
        f"one of {', '.join(WRITTEN.values())}, a name that `marl graphs` lists (karate, germany50, case118, ...), "
        "or the path of a graph file"
    )
