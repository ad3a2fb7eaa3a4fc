"""The Markov chain of the joint state under a fixed policy is P_theta(s'|s) = sum_a zeta(a|s) prod_i P_i(s_i'|z_{N_i}).

Joint states are numbered 0..X-1 in mixed radix over the agents, agent 0 most significant. Actions may be shared: they
are then summed jointly, never agent by agent (the next states of neighbors are correlated given s).
"""

import math
from collections.abc import Sequence
from functools import cached_property, partial

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from marl.core import checks
from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.policy import Policy
from marl.core.together import check_together
from marl.exact import dense
from marl.exact.elimination import Elimination
from marl.exact.local_laws import LocalLaws
from marl.exact.policy_tables import policy_tables, seen_agents
from marl.exact.recurrence import SeveralClassesError, Step, recurrent_class

DENSE_STATES = 512
"""Up to here the dense route is the faster one."""

PolicyTables = list[np.ndarray]
"""zeta_i(a|s_{O_i}) of every agent, in the shape of `Chain.tables`; a row of zeros stands for a state that is left out."""


class Chain:
    """This is the chain of env under one replica of `policy`, frozen as it is now. All numbers float64.

    A policy may see the states of others: agent i those of O_i = N_i^hops, `seen[i]`.
    method: `dense` (matrices, direct solves), `free` (matrix-free, iterative) or `auto` (by size). memory: GiB that a
    computation may take.

    Attributes: `laws` (tables of the environment), `policy`, `replica`, `seen` (O_i in increasing order, i included),
    `tables` (zeta_i(a|s_{O_i}) [S_l for l in O_i, A]; own-state policies: [S_i, A]), `num_states` X, `method` in use.
    Errors: `ConfigError` if the joint state or the policy's tables are too large, with the size and the memory needed, or
    if the policy was made for another network, other sizes or other legal actions than `env` has.
    """

    def __init__(
        self,
        env: NetworkedMDP,
        policy: Policy,
        *,
        replica: int = 0,
        method: str = "auto",
        memory: float = 4.0,
        laws: LocalLaws | None = None,
    ):
        check_together(env, policy)
        self.laws = laws or LocalLaws(env)
        self.env = self.laws.env
        if self.env is not env:
            raise ConfigError("the laws are of another environment than the chain")
        self.memory = checks.number("memory", memory, 0.0)
        self.n = env.n
        self.sizes: list[int] = self.laws.num_states
        self.num_states = math.prod(self.sizes)
        self.seen = seen_agents(policy)
        self._auto = method == "auto"
        self.method = self._chosen(checks.choice("method", method, ("auto", "dense", "free")))
        self.policy, self.replica = policy, replica
        with torch.no_grad():
            self.tables = [table.numpy() for table in policy_tables(policy, replica)]

    def expect(self, h: Float[np.ndarray, "X C"], policy: PolicyTables | None = None) -> Float[np.ndarray, "X C"]:
        """Computes E[h(s') | s] under the chain's policy, or under `policy`."""
        if self.method == "dense" and policy is None:
            return self.matrix.numpy() @ h
        factors, weights = self._own_factors if policy is None else self.factors(self.laws.law, policy)
        return self.elimination.expect(factors, weights, h)

    def push(self, w: Float[np.ndarray, "X C"]) -> Float[np.ndarray, "X C"]:
        """Computes the distribution of s' when that of s is w (columns): w P_theta."""
        if self.method == "dense":
            return self.matrix.numpy().T @ w
        return self.elimination.push(*self._own_factors, w)

    def rewards(self, agents: Sequence[int] | None = None, policy: PolicyTables | None = None) -> Float[np.ndarray, "X C"]:
        """Computes E[r_i | s] of all or some agents under the chain's policy, or under `policy`."""
        wanted = range(self.n) if agents is None else agents
        tables = [torch.from_numpy(table) for table in policy or self.tables]
        out = np.empty((self.num_states, len(wanted)))
        for c, i in enumerate(wanted):
            mean, scope = dense.averaged_reward(self.laws, i, tables, self.seen)
            shape = [self.sizes[j] if j in scope else 1 for j in range(self.n)]
            out.reshape(*self.sizes, -1)[..., c] = mean.numpy().reshape(shape)
        return out

    def zeta(self, i: int, s: Int64[np.ndarray, "*#X n"], a: Int64[np.ndarray, "*#X"] | int) -> Float[np.ndarray, "..."]:
        """Looks up zeta_i(a|s_{O_i}) at joint states s and actions a of agent i."""
        return self.tables[i][(*np.moveaxis(s[..., self.seen[i]], -1, 0), a)]

    def always(self, i: int, action: int) -> np.ndarray:
        """Makes the table of agent i under a policy that takes `action` wherever the agent may."""
        table = np.zeros_like(self.tables[i])
        table[..., action] = self.legal(i)[..., action]
        return table

    def legal(self, i: int) -> Bool[np.ndarray, "*S A"]:
        """Marks the legal actions of agent i, one axis for each of O_i, that of i alone longer than 1."""
        mask = self.env.action_mask[i, : self.sizes[i]].numpy()
        return mask.reshape(*(self.sizes[i] if j == i else 1 for j in self.seen[i]), -1)

    def states(self, number: Int64[np.ndarray, "*X"] | None = None) -> Int64[np.ndarray, "*X n"]:
        """Lists the agents' states of the joint states with these numbers, or of all."""
        number = np.arange(self.num_states) if number is None else number
        return np.stack(np.unravel_index(number, self.sizes), axis=-1)

    def number(self, s: Int64[np.ndarray, "*X n"]) -> Int64[np.ndarray, "*X"]:
        """Returns the numbers of joint states."""
        return np.ravel_multi_index(np.moveaxis(s, -1, 0), self.sizes)

    @cached_property
    def matrix(self) -> Float[Tensor, "X X"]:
        """The matrix is P_theta. Errors: `ConfigError` beyond 4096 joint states."""
        return dense.transition_matrix(self.laws, [torch.from_numpy(table) for table in self.tables], self.seen)

    @cached_property
    def recurrent(self) -> Bool[np.ndarray, "X"]:
        """Marks the recurrent class. Errors: `SeveralClassesError` with states of two, if there is more than one."""
        if all(bool((factor > 0).all()) for factor in self._own_factors[0]):
            return np.ones(self.num_states, dtype=bool)
        found, stray = recurrent_class(self.num_states, *self._supports())
        if stray is not None:
            one, other = (tuple(self.states(np.array(x)).tolist()) for x in (int(found.argmax()), stray))
            raise SeveralClassesError(
                f"the chain has more than one recurrent class: from joint state {other} it never reaches {one}, so "
                "long-run averages depend on the start; use a policy that tries every action, or laws that do not absorb"
            )
        return found

    def averaged_laws(self, policy: PolicyTables | None = None) -> list[np.ndarray]:
        """Averages P_i(s_i'| ...) over private actions, [S_j for j in scopes[i], S_i]; else gives the laws themselves."""
        return self.laws.law if self.laws.sees_pairs else self._averaged(self.laws.law, policy or self.tables)

    @property
    def scopes(self) -> list[list[int]]:
        """Lists what factors see: with private actions the states of N_i and O_i, with shared ones the pairs of N_i."""
        laws = self.laws
        if laws.sees_pairs:
            return laws.neighbors
        return [sorted({*near, *seen}) for near, seen in zip(laws.neighbors, self.seen, strict=True)]

    def factors(
        self, laws: list[np.ndarray], policy: PolicyTables | None = None
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Makes what the elimination takes of laws: with private actions averaged over them, else with action weights.

        laws: as `LocalLaws.law`; the last axis may be longer.
        """
        policy = policy or self.tables
        if not self.laws.sees_pairs:
            return [_rows(table) for table in self._averaged(laws, policy)], []
        return [_rows(table) for table in laws], [self._at_pairs(i, table) for i, table in enumerate(policy)]

    def plan(self, targets: list[int]) -> Elimination:
        """Plans sums over targets of these sizes, one of each agent. Errors: `ConfigError` if they need too much memory."""
        laws, memory = self.laws, self.memory
        if laws.sees_pairs:
            return Elimination(self.scopes, laws.num_pairs, targets, laws.first, memory, self.seen)
        return Elimination(self.scopes, self.sizes, targets, None, memory)

    def _supports(self) -> tuple[Step, Step]:
        """Returns `push` and `expect` with every positive number replaced by one, so that nothing vanishes by rounding."""
        if self.method == "dense":
            possible = (self.matrix > 0).double().numpy()
            return possible.T.__matmul__, possible.__matmul__
        factors, weights = ([(table > 0).astype(float) for table in tables] for tables in self._own_factors)
        return partial(self.elimination.push, factors, weights), partial(self.elimination.expect, factors, weights)

    @cached_property
    def _own_factors(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        return self.factors(self.laws.law)

    def _averaged(self, laws: list[np.ndarray], policy: PolicyTables) -> list[np.ndarray]:
        return [
            dense.averaged_law(self.laws, i, law, torch.from_numpy(policy[i]), self.seen[i])[0].numpy()
            for i, law in enumerate(laws)
        ]

    def _at_pairs(self, i: int, table: np.ndarray) -> np.ndarray:
        """Writes zeta_i(a_i|s_{O_i}) out at the pairs z_i, [joint states of the others in O_i, |Z_i|]."""
        own_last = np.moveaxis(table, self.seen[i].index(i), -2)
        return _rows(own_last[..., self.laws.pair_state[i], self.laws.pair_action[i]])

    def fall_back(self) -> bool:
        """Turns to the dense route, if the method was left to the chain and the matrix is small enough."""
        possible = self._auto and dense.fits(self.laws)
        if possible:
            self.method = "dense"
        return possible

    @cached_property
    def elimination(self) -> Elimination:
        """This is how sums over the next state are done. Errors: `ConfigError` if they need more memory than allowed."""
        return self.plan(self.sizes)

    def _chosen(self, method: str) -> str:
        if method == "dense":
            dense.check_size(self.laws)
            return "dense"
        if method == "auto" and dense.fits(self.laws):
            if self.num_states <= DENSE_STATES:
                return "dense"
            try:
                return "free" if self.elimination.peak < self.num_states**2 else "dense"
            except ConfigError:
                return "dense"
        _ = self.elimination  # refuses what is too large
        return "free"


def _rows(table: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(table.reshape(-1, table.shape[-1]))
