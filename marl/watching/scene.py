"""A scene is what stays the same while the steps pass: where agents stand and what everything is called."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from torch import Tensor

from marl.core.environment import FiniteEnvironment
from marl.core.errors import ConfigError
from marl.plotting import positions
from marl.watching.recording import Recording

LONGEST = 80
"""Most characters of a name that are shown."""
LONGEST_TITLE = 500
KINDS = 10
"""Most states that have a color each, and most actions that have a mark each."""

Words = list[dict[int, str]]
"""Number -> name, for every agent."""


class Scene(NamedTuple):
    """These are the facts of a network that is shown.

    title: one line. agents: their names. places: float64 [n, 2]. edges: int64 [E, 2].
    states, actions: what number k is called where all agents call it the same, else "state k", "action k"; empty where
    there are more than `KINDS`, which are no kinds any more.
    state_names, action_names: what each agent calls those that occur.
    """

    title: str
    agents: list[str]
    places: np.ndarray
    edges: np.ndarray
    states: list[str]
    actions: list[str]
    state_names: Words
    action_names: Words


def scene_of(env: FiniteEnvironment, recording: Recording, title: str) -> Scene:
    """Gathers what a network is drawn with. Errors: `ConfigError` if the environment's own positions are none."""
    places = positions(env)
    if places.shape != (env.n, 2) or not np.isfinite(places).all():
        raise ConfigError(
            f"{type(env).__name__}.positions must be {env.n} pairs of finite numbers, got shape {list(places.shape)}"
        )
    return Scene(
        title=_text(title, LONGEST_TITLE),
        agents=_agents(env),
        places=places,
        edges=env.network.edges,
        states=_shared(env.state_name, env.num_states, "state"),
        actions=_shared(env.action_name, env.num_actions, "action"),
        state_names=_occurring(env.state_name, recording.s),
        action_names=_occurring(env.action_name, recording.a),
    )


def _text(name: object, longest: int = LONGEST) -> str:
    """Makes one short line of whatever a file or a class calls something."""
    line = " ".join(str(name).encode("utf-8", "replace").decode().split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


def _agents(env: FiniteEnvironment) -> list[str]:
    labels = env.network.labels
    if labels is None or labels == list(range(env.n)):
        return [f"agent {i}" for i in range(env.n)]
    return [f"agent {i}, {_text(label)}" for i, label in enumerate(labels)]


def _shared(name: Callable[[int, int], str], sizes: Tensor, kind: str) -> list[str]:
    found: list[str] = []
    for k in range(int(sizes.max()) if int(sizes.max()) <= KINDS else 0):
        names = {name(i, k) for i in (sizes > k).nonzero().flatten().tolist()}
        found.append(_text(names.pop()) if len(names) == 1 else f"{kind} {k}")
    return found


def _occurring(name: Callable[[int, int], str], numbers: np.ndarray) -> Words:
    return [{int(k): _text(name(i, int(k))) for k in np.unique(column)} for i, column in enumerate(numbers.T)]
