"""Tables of policies that see the states of N_i^kappa are made of rows; ties say which of them are one and the same row."""

import itertools
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from marl.core.checks import gib, size
from marl.core.environment import FiniteEnvironment, NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.indexing import NeighborhoodKeys, NeighborhoodModule
from marl.core.policy import Policy
from marl.exact.chain import Chain
from marl.exact.gradient import by_seen_states, summed_q

MOST_ROWS = 2**20
"""Rows of the tables of all agents beyond which nothing is searched."""


class LocalTables(Policy, NeighborhoodModule):
    """This policy is written out: tables[i] holds zeta_i(a | s_{N_i^kappa}).

    Shapes: tables[i] [S_l for l in N_i^kappa in increasing order, A]. All replicas are the same.
    """

    _stride: Tensor
    _base: Tensor
    _log: Tensor

    def __init__(self, env: FiniteEnvironment, kappa: int, tables: list[np.ndarray], **run: Any):
        super().__init__(env, **run)
        self.hops = kappa
        self.neighborhood = env.network.neighborhood(kappa)
        keys = NeighborhoodKeys(self.neighborhood, env.num_states)
        actions = env.action_mask.shape[2]
        rows = [table.transpose(*range(table.ndim - 2, -1, -1), table.ndim - 1).reshape(-1, actions) for table in tables]
        with np.errstate(divide="ignore"):
            log = np.log(np.concatenate(rows))
        self.register_buffer("_stride", keys.stride, persistent=False)
        self.register_buffer("_base", keys.base, persistent=False)
        self.register_buffer("_log", torch.from_numpy(log), persistent=False)

    def _logits(self, s: Tensor) -> Tensor:
        return self._log[self._base + (s[..., self._neighborhood_index] * self._stride).sum(dim=-1)]


class Ties:
    """This numbers the rows of the tables zeta_i(. | s_{N_i^kappa}) of all agents.

    symmetric: agents that see alike do alike. A row then belongs to (s_i, how many agents at each distance are in which
    state), whoever i is; otherwise to (i, s_{N_i^kappa}).
    Attributes: keys[i] [joint states of N_i^kappa]: the row of each; legal [K, A]: the legal actions of every row;
    agent [K]: the first agent that has it.
    Errors: `ConfigError` with the size if there are too many rows, or if agents differ in states or legal actions where
    they should do alike.
    """

    def __init__(self, env: NetworkedMDP, kappa: int, symmetric: bool):
        self.env, self.kappa = env, kappa
        index, mask, _ = env.network.neighborhood(kappa)
        self.near: list[list[int]] = [row[inside].tolist() for row, inside in zip(index, mask, strict=True)]
        states = env.num_states.tolist()
        self._shapes = [[states[j] for j in near] for near in self.near]
        count = sum(map(math.prod, self._shapes))
        if count > MOST_ROWS:
            memory = gib(8 * count * env.action_mask.shape[2])
            raise ConfigError(
                f"agents that see {kappa} hops have tables of {size(count)} rows ({memory} GiB), more than {MOST_ROWS}; "
                "choose a smaller kappa or a smaller network"
            )
        if symmetric:
            self._check_alike()
        number: dict[tuple[object, ...], int] = {}
        self.keys: list[np.ndarray] = []
        legal: list[np.ndarray] = []
        agent: list[int] = []
        for i, shape in enumerate(self._shapes):
            keys = np.empty(math.prod(shape), dtype=np.int64)
            own = self.near[i].index(i)
            distance = env.network.distances(i)[self.near[i]].tolist()
            for place, seen in enumerate(np.ndindex(*shape)):
                around = Counter(zip(distance, seen, strict=True))
                key = (seen[own], frozenset(around.items())) if symmetric else (i, place)
                keys[place] = number.setdefault(key, len(number))
                if len(legal) < len(number):
                    legal.append(env.action_mask[i, seen[own]].numpy())
                    agent.append(i)
            self.keys.append(keys)
        self.legal: Bool[np.ndarray, "K A"] = np.stack(legal)
        self.agent = np.array(agent)

    @property
    def rules(self) -> int:
        """Counts the deterministic choices of one legal action for every row."""
        return math.prod(int(actions.sum()) for actions in self.legal)

    def every_rule(self) -> Iterator[Float[np.ndarray, "K A"]]:
        """Lists them, each as rows with a single 1."""
        for chosen in itertools.product(*(np.flatnonzero(actions) for actions in self.legal)):
            rows = np.zeros(self.legal.shape)
            rows[np.arange(len(rows)), chosen] = 1.0
            yield rows

    def uniform(self) -> Float[np.ndarray, "K A"]:
        """Makes every legal action of a row equally likely."""
        return self.legal / self.legal.sum(axis=1, keepdims=True)

    def policy(self, rows: Float[np.ndarray, "K A"]) -> LocalTables:
        """Makes the policy that has these rows."""
        tables = [rows[keys].reshape(*shape, -1) for keys, shape in zip(self.keys, self._shapes, strict=True)]
        return LocalTables(self.env, self.kappa, tables)

    def summed(self, tables: list[np.ndarray]) -> Float[np.ndarray, "K *A"]:
        """Adds up what tables [S_l for l in N_i^kappa, ...] hold for every row."""
        total = np.zeros((len(self.legal), *tables[0].shape[len(self._shapes[0]) :]))
        for keys, table, shape in zip(self.keys, tables, self._shapes, strict=True):
            np.add.at(total, keys, table.reshape(len(keys), *table.shape[len(shape) :]))
        return total

    def mean_q(
        self, chain: Chain, weights: Float[np.ndarray, "X"], values: Float[np.ndarray, "X"], gamma: float = 1.0
    ) -> Float[np.ndarray, "K A"]:
        """Averages E[(1/n) sum_j r_j + gamma values(s') | s, a_i] over the joint states of every row, weighted.

        chain: that of `policy(rows)`. It is zero where the weights are, and at illegal actions.
        """
        weight = self.summed([by_seen_states(chain, i, weights) for i in range(chain.n)])[:, None]
        summed = self.summed(summed_q(chain, weights, values, gamma))
        return np.divide(summed, weight, out=np.zeros(summed.shape), where=weight > 0.0)

    def _check_alike(self) -> None:
        if (odd := odd_one(self.env)) is not None:
            raise ConfigError(
                f"agents 0 and {odd} have other states or legal actions, so that they cannot follow one rule; "
                "use symmetric=False"
            )


def odd_one(env: FiniteEnvironment) -> int | None:
    """Finds the first agent that has other states or legal actions than agent 0, or None."""
    mask = env.action_mask
    odd = ((env.num_states != env.num_states[0]) | (mask != mask[0]).flatten(1).any(dim=1)).nonzero()
    return int(odd[0]) if len(odd) else None
