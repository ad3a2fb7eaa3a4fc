"""The local laws of an environment are read off as tables by asking it; they are the one source of everything exact.

Agent i's law P_i(. | z_{N_i}) sees of each neighbor j either the pair z_j or, where actions are private (equation (1)
of the paper) and j is not i, only the state s_j. Pairs are the compact numbers of `env.index`.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch

from marl.core.checks import size
from marl.core.environment import Environment, NetworkedMDP
from marl.core.errors import ConfigError

MAX_ENTRIES = 2**27
"""Largest number of table entries of one agent (1 GiB)."""


_CHUNK = 2**24
"""Numbers that the environment is asked for at a time (128 MB)."""
TOLERANCE = 1e-6
"""How far from one the sum of a row may be; rows within it are divided by their sum."""


class TooManyPairsError(ConfigError):
    """A neighborhood has more joint pairs than can be listed."""


def stating_its_law(env: Environment) -> NetworkedMDP:
    """Returns the environment if it states its law. Errors: `ConfigError` if it does not."""
    if not isinstance(env, NetworkedMDP):
        raise ConfigError(
            "exact results need an environment that states its law, a NetworkedMDP with `_transition` and `_reward`; "
            f"{type(env).__name__} can only be sampled"
        )
    return env


class LocalLaws:
    """This holds the tables of all agents.

    env: the environment. neighbors[i]: N_i in increasing order, i included. own[i]: the place of i in it.
    pair_state[i], pair_action[i] [|Z_i|]: the legal pairs in their compact order; first[i] [S_i + 1]: where the pairs
    of each state begin. sees_pairs: whether laws see all of z_{N_i}; if not, z_i and s_j of the others.
    law[i] [D_1, ..., D_m, S_i]: P_i(s_i' | ...), D_j = |Z_j| or S_j as above.
    reward[i] [|Z_i|] if rewards are private, else [|Z_1|, ..., |Z_m|]: E[r_i | ...].

    Errors: `ConfigError` if the environment does not state its law, or states one that is no distribution;
    `TooManyPairsError` if a neighborhood has too many joint pairs.
    """

    def __init__(self, env: NetworkedMDP):
        self.env = stating_its_law(env)
        self.n = env.n
        index, mask, _ = env.network.neighborhood(1)
        self.neighbors = [index[i, mask[i]].tolist() for i in range(env.n)]
        self.own = [near.index(i) for i, near in enumerate(self.neighbors)]
        pairs = [env.action_mask[i].nonzero().numpy() for i in range(env.n)]
        self.pair_state = [pair[:, 0] for pair in pairs]
        self.pair_action = [pair[:, 1] for pair in pairs]
        self.num_states = env.num_states.tolist()
        self.num_pairs = env.index.num_pairs.tolist()
        self.first = [np.searchsorted(self.pair_state[i], np.arange(self.num_states[i] + 1)) for i in range(env.n)]
        self.sees_pairs = not env.private_actions
        self.law: list[np.ndarray] = [np.empty(0)] * env.n
        self.reward: list[np.ndarray] = [np.empty(0)] * env.n
        self._check_size()
        for group in far_apart(self.neighbors):
            self._read(group)

    def checked(self, agents: Sequence[int] | None) -> list[int]:
        """Returns the agents asked for, all if None. Errors: `ConfigError` for one that does not exist."""
        wanted = list(range(self.n)) if agents is None else list(agents)
        if not wanted:
            raise ConfigError("no agent is asked for; name at least one")
        for i in wanted:
            if not isinstance(i, (int, np.integer)) or i not in range(self.n):
                raise ConfigError(f"there is no agent {i}; agents are numbered 0 to {self.n - 1}")
        return [int(i) for i in wanted]

    def seen(self, i: int, j: int, z: np.ndarray) -> np.ndarray:
        """Returns what agent i's law sees of the pairs z of its neighbor j: the pairs, or their states."""
        return z if self.sees_pairs or i == j else self.pair_state[j][z]

    def _grid(self, i: int) -> list[np.ndarray]:
        """Lists for each neighbor the pair numbers that are tried: all, or one per state where that says everything."""
        thin = self.env.private_actions and self.env.private_rewards
        return [self.first[j][:-1] if thin and j != i else np.arange(self.num_pairs[j]) for j in self.neighbors[i]]

    def _check_size(self) -> None:
        total = 0
        for i in range(self.n):
            entries = math.prod(len(axis) for axis in self._grid(i)) * self.num_states[i]
            if entries > MAX_ENTRIES:
                raise TooManyPairsError(
                    f"agent {i} and its {len(self.neighbors[i]) - 1} neighbors have a law of {size(entries)} entries, more "
                    f"than the {size(MAX_ENTRIES)} that can be listed; use fewer states, actions or neighbors"
                )
            total += entries
        if total > 2 * MAX_ENTRIES:
            raise TooManyPairsError(
                f"the laws of all {self.n} agents have {size(total)} entries, more than the {size(2 * MAX_ENTRIES)} that "
                "can be listed; use fewer agents, states or actions"
            )

    def _read(self, group: list[int]) -> None:
        """Fills the tables of agents that share no neighbor, all in the same questions to the environment."""
        grids = {i: self._grid(i) for i in group}
        shapes = {i: [len(axis) for axis in grids[i]] for i in group}
        counts = {i: math.prod(shapes[i]) for i in group}
        law = {i: np.empty((counts[i], self.num_states[i])) for i in group}
        reward = {i: np.empty(counts[i]) for i in group}
        rows = max(1, _CHUNK // (self.n * (max(self.num_states) + 2)))
        for start in range(0, max(counts.values()), rows):
            asked = np.arange(start, min(start + rows, max(counts.values())))
            s = np.zeros((len(asked), self.n), dtype=np.int64)
            a = np.tile(np.array([action[0] for action in self.pair_action]), (len(asked), 1))
            for i in group:
                own = asked[asked < counts[i]]
                for j, axis, place in zip(self.neighbors[i], grids[i], np.unravel_index(own, shapes[i]), strict=True):
                    z = axis[place]
                    s[: len(own), j], a[: len(own), j] = self.pair_state[j][z], self.pair_action[j][z]
            states, actions = torch.from_numpy(s), torch.from_numpy(a)
            next_law, mean_reward = self.env.transition(states, actions).numpy(), self.env.reward(states, actions).numpy()
            for i in group:
                own = asked[asked < counts[i]]
                law[i][own] = next_law[: len(own), i, : self.num_states[i]]
                reward[i][own] = mean_reward[: len(own), i]
        for i in group:
            self._keep(i, _normalized(i, law[i]).reshape(*shapes[i], -1), reward[i].reshape(shapes[i]))

    def _keep(self, i: int, law: np.ndarray, reward: np.ndarray) -> None:
        """Drops the axes and entries that law and reward do not depend on."""
        if self.env.private_actions and not self.env.private_rewards:  # the law needs one pair per state of the others
            law = law[np.ix_(*self._states_only(i), np.arange(self.num_states[i]))]
        if self.env.private_rewards:
            reward = reward[tuple(slice(None) if j == i else 0 for j in self.neighbors[i])]
        self.law[i], self.reward[i] = np.ascontiguousarray(law), np.ascontiguousarray(reward)

    def _states_only(self, i: int) -> list[np.ndarray]:
        return [np.arange(self.num_pairs[j]) if j == i else self.first[j][:-1] for j in self.neighbors[i]]


def _normalized(i: int, law: np.ndarray) -> np.ndarray:
    """Returns rows that sum to one exactly. Errors: `ConfigError` if they are off by more than single precision."""
    total = law.sum(axis=1, keepdims=True)
    if not (np.abs(total - 1.0) <= TOLERANCE).all() or not (law >= 0.0).all():
        worst = int(np.argmax(np.abs(np.nan_to_num(total[:, 0], nan=np.inf) - 1.0) - np.minimum(law.min(axis=1), 0.0)))
        raise ConfigError(
            f"the environment's law of agent {i} is no distribution: one of its rows, {law[worst].tolist()}, sums to "
            f"{total[worst, 0]:.9g}"
        )
    return law / total


def far_apart(neighbors: list[list[int]]) -> list[list[int]]:
    """Groups the agents greedily such that those of one group share no neighbor."""
    groups: list[list[int]] = []
    color = [-1] * len(neighbors)
    for i, near in enumerate(neighbors):
        taken = {color[k] for j in near for k in neighbors[j]}
        color[i] = next(c for c in range(len(groups) + 1) if c not in taken)
        if color[i] == len(groups):
            groups.append([])
        groups[color[i]].append(i)
    return groups
