"""A file of tables is an `.npz` of `n`, `edges` [E, 2] and, for every agent i, `transition_i` and `reward_i`."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from marl.core.archives import weigh
from marl.core.checks import integer
from marl.core.errors import ConfigError
from marl.core.files import located, write_atomically
from marl.core.network import Network

KINDS = ("transition", "reward")


def write(path: str | Path, network: Network, transition: Sequence[np.ndarray], reward: Sequence[np.ndarray]) -> None:
    """Writes the file, whole or not at all. Errors: `ConfigError` if it cannot be written."""
    named = zip(KINDS, (transition, reward), strict=True)
    arrays = {f"{kind}_{i}": table for kind, tables in named for i, table in enumerate(tables)}
    content = {"n": np.array(network.n), "edges": network.edges, **arrays}
    try:
        write_atomically(Path(path), lambda file: np.savez(file, **content))  # type: ignore[arg-type]
    except OSError as error:
        raise ConfigError(f"tables cannot be written to {path}: {error.strerror or error}") from None


def read(path: str | Path) -> tuple[Network, list[np.ndarray], list[np.ndarray]]:
    """Reads (network, transition, reward); what the tables hold is not looked at.

    Errors: `ConfigError` if the file is missing or malformed, lacks an array or has one too many.
    """
    if not isinstance(path, (str, Path)):
        raise ConfigError(f"env.path must be the path of an .npz file of tables, got {path!r}")
    content = _arrays(located(path))
    try:
        if content["n"].size != 1:
            raise ConfigError(f"n must be one whole number, got an array of shape {content['n'].shape}")
        n = integer("n", content["n"].item(), 1)
        transition, reward = ([content[f"{kind}_{i}"] for i in range(n)] for kind in KINDS)
        if len(content) > 2 * n + 2:
            known = {"n", "edges", *(f"{kind}_{i}" for kind in KINDS for i in range(n))}
            raise ConfigError(f"there are {n} agents, so there can be no array {min(set(content) - known)!r}")
        return Network.from_edges(n, content["edges"]), transition, reward
    except KeyError as error:
        raise ConfigError(f"env.path={path} has no array {error}") from None
    except ConfigError as error:
        raise type(error)(f"env.path={path}: {error}") from None


def _arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Loads every array of an .npz file; nothing in it is ever executed."""
    try:
        with open(path, "rb") as file:
            archived = zipfile.is_zipfile(file)
            if archived:
                weigh(file)
    except zipfile.BadZipFile as error:
        raise ConfigError(f"env.path={path} is damaged: {error}") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise ConfigError(f"env.path={path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not archived:
        raise ConfigError(f"env.path={path} is no .npz file; numpy.savez or LocalMDP.save writes one")
    found: dict[str, np.ndarray] = {}
    with np.load(path, allow_pickle=False) as archive:
        for name in archive.files:
            try:
                found[name] = np.asarray(archive[name])
            except Exception as error:  # numpy, zipfile and zlib have many
                if "Object arrays" in str(error):
                    raise ConfigError(f"env.path={path}: {name} holds Python objects, not numbers") from None
                raise ConfigError(f"env.path={path} is damaged: {name} cannot be read ({error})") from None
    return found
