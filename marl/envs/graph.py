"""A setting names its graph: `env.graph=line:10`, `env.graph=grid:2x6`, `env.graph=my_graph.txt`."""

import os
import re
from collections.abc import Callable
from pathlib import Path

from marl.core.errors import ConfigError, NetworkError
from marl.core.files import located
from marl.core.network import Network

MAX_AGENTS = 2**24
"""Largest n that a short name may ask for; a slip of a digit should not fill the memory."""

_COUNT, _PAIR = r"(\d+)", r"(\d+)x(\d+)"
_GEOMETRIC = r"(\d+):([^:]+)(?::(\d+))?"

FORMS: dict[str, tuple[str, str, Callable[..., Network]]] = {  # name -> (how it is written, pattern, what it makes)
    "line": ("line:N", _COUNT, Network.line),
    "ring": ("ring:N", _COUNT, Network.ring),
    "grid": ("grid:ROWSxCOLS", _PAIR, Network.grid),
    "king": ("king:ROWSxCOLS", _PAIR, Network.king),
    "geometric": ("geometric:N:RADIUS[:SEED]", _GEOMETRIC, Network.random_geometric),
}


def graph(spec: str | Path | Network) -> Network:
    """Makes the network that `spec` names.

    A `Network` is returned as it is. "line:10", "ring:8", "grid:2x6", "king:5x5", "geometric:50:0.2" and
    "geometric:50:0.2:7" (n, radius, seed = 0) are the standard graphs; anything else is the path of a graph file
    (see `Network.from_file`; it must be connected).

    Errors: `ConfigError` if `spec` is no such name and no file; `NetworkError` if the graph itself cannot be.
    """
    if isinstance(spec, Network):
        return spec
    if not isinstance(spec, (str, Path)):
        raise ConfigError(f"env.graph must be {_allowed()}, got {spec!r}")
    name, colon, rest = str(spec).partition(":")
    if colon and name in FORMS:
        return _named(str(spec), name, rest.replace(" ", ""))
    file = located(spec)
    if not str(spec) or not os.path.exists(file):  # not Path.exists, which raises on names that no file can have
        raise ConfigError(f"env.graph={str(spec)!r} is no file; it must be {_allowed()}")
    return Network.from_file(file)


def _named(spec: str, name: str, rest: str) -> Network:
    written, pattern, make = FORMS[name]
    match = re.fullmatch(pattern, rest)
    kinds = (int, float, int) if pattern == _GEOMETRIC else (int, int)
    try:
        values = [kind(text) for kind, text in zip(kinds, match.groups(), strict=False) if text] if match else []
    except ValueError:  # a radius that is no number, or an integer of thousands of digits
        values = []
    if not values:
        raise ConfigError(f"env.graph={spec!r} cannot be read; write {written}, with whole numbers for sizes and seeds")
    agents = values[0] * values[1] if pattern == _PAIR else values[0]
    if agents > MAX_AGENTS:
        raise ConfigError(f"env.graph={spec!r} has {agents:.3g} agents; at most {MAX_AGENTS} can be asked for by name")
    try:
        return make(*values)
    except ConfigError as error:
        raise NetworkError(f"env.graph={spec!r}: {error}") from None


def _allowed() -> str:
    return f"one of {', '.join(written for written, _, _ in FORMS.values())}, or the path of a graph file"
