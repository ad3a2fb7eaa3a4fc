"""The Bellman backup of one mind that sees the whole network is done matrix-free, one agent at a time.

    Q(s, a) = (1/n) sum_i r_i(z_{N_i}) + gamma sum_{s'} prod_i P_i(s_i' | z_{N_i}) h(s')

is an array over all joint pairs, made by variable elimination; the best joint action is then chosen by maximizing over
z_0, z_1, ... in turn, each given the state of its agent, and read off backward.
"""

import math

import numpy as np
from jaxtyping import Float, Int64

from marl.core.checks import gib, size
from marl.core.errors import ConfigError
from marl.exact.elimination import Elimination
from marl.exact.local_laws import LocalLaws
from marl.kernels import choosing

MOST_PAIRS = 2**28
"""Joint pairs beyond which no optimum is looked for, however much memory is allowed."""
FEW = 2**22
"""Numbers that an array over pairs of joint states may have whatever the number of joint pairs (32 MB)."""


class JointBackup:
    """This computes Q over all joint pairs, its maximum over joint actions, and what a joint action leads to.

    follows: whether to follow chosen actions takes no more than a backup; it needs an array [X, X / S_0].
    memory: GiB that the arrays may take. Errors: `ConfigError` with the size, before anything is allocated.
    """

    def __init__(self, laws: LocalLaws, memory: float = 4.0):
        self.laws, self.n = laws, laws.n
        self.num_states, self.num_pairs = math.prod(laws.num_states), math.prod(laws.num_pairs)
        self.follows = self.num_states**2 // laws.num_states[0] <= max(self.num_pairs, FEW)
        self._check_size(memory)
        self._elimination = Elimination(laws.neighbors, laws.num_pairs, laws.num_states, None, memory)
        everyone = [self._of_pairs(i) for i in range(self.n)]
        self._factors = [np.ascontiguousarray(table.reshape(-1, table.shape[-1])) for table in everyone]
        self.rewards = self._mean_rewards()
        number = np.unravel_index(np.arange(self.num_states), laws.num_states)
        self.states: Int64[np.ndarray, "X n"] = np.stack(number, axis=-1)

    def q(self, h: Float[np.ndarray, "X"], gamma: float) -> Float[np.ndarray, "Z"]:
        """Computes Q(s, a) of every joint pair, in mixed radix over compact pairs, agent 0 most significant."""
        q = self._elimination.expect(self._factors, [], h[:, None])[:, 0]
        q *= gamma
        q += self.rewards
        return q

    def best(self, q: Float[np.ndarray, "Z"]) -> tuple[Float[np.ndarray, "X"], Int64[np.ndarray, "X n"]]:
        """Finds max over a of Q(s, a), and the pair numbers z_i [X, n] of a joint action that reaches it."""
        choices, outer, right = [], 1, self.num_pairs
        for states, pairs, first in zip(self.laws.num_states, self.laws.num_pairs, self.laws.first, strict=True):
            right //= pairs
            out, choice = np.empty(outer * states * right), np.empty(outer * states * right, dtype=np.int16)
            choosing.choose(q, out, choice, first, outer, right)
            choices.append(choice)
            q, outer = out, outer * states
        z = np.empty((self.num_states, self.n), dtype=np.int64)
        head, tail, radix = np.arange(self.num_states), np.zeros(self.num_states, dtype=np.int64), 1
        for i in reversed(range(self.n)):  # head: the number of the states of 0..i, tail: of the pairs of i+1..n-1
            z[:, i] = self.laws.first[i][self.states[:, i]] + choices[i][head * radix + tail]
            head //= self.laws.num_states[i]
            tail += radix * z[:, i]
            radix *= self.laws.num_pairs[i]
        return q, z

    def soft(self, q: Float[np.ndarray, "Z"], temperature: float) -> Float[np.ndarray, "X"]:
        """Computes (temperature / n) log sum_a exp(n Q(s, a) / temperature)."""
        outer, right = 1, self.num_pairs
        for states, pairs, first in zip(self.laws.num_states, self.laws.num_pairs, self.laws.first, strict=True):
            right //= pairs
            out = np.empty(outer * states * right)
            choosing.soften(q, out, first, outer, right, temperature / self.n)
            q, outer = out, outer * states
        return q

    def actions(self, z: Int64[np.ndarray, "X n"]) -> Int64[np.ndarray, "X n"]:
        """Turns pair numbers into actions."""
        return np.stack([self.laws.pair_action[i][z[:, i]] for i in range(self.n)], axis=-1)

    def following(self, z: Int64[np.ndarray, "X n"]) -> tuple[Float[np.ndarray, "X"], list[Float[np.ndarray, "X _"]]]:
        """Returns the mean reward in every joint state under one joint action there, and the laws of the next states."""
        laws, place = self.laws, np.ravel_multi_index(tuple(z.T), self.laws.num_pairs)
        rows = [laws.law[i][tuple(laws.seen(i, j, z[:, j]) for j in near)] for i, near in enumerate(laws.neighbors)]
        return self.rewards[place], rows

    def _of_pairs(self, i: int) -> np.ndarray:
        """Returns P_i with one axis of pairs per neighbor, whatever of them it sees."""
        laws = self.laws
        return laws.law[i][np.ix_(*self._axes(i), np.arange(laws.num_states[i]))]

    def _axes(self, i: int) -> list[np.ndarray]:
        return [self.laws.seen(i, j, np.arange(self.laws.num_pairs[j])) for j in self.laws.neighbors[i]]

    def _mean_rewards(self) -> Float[np.ndarray, "Z"]:
        laws, total = self.laws, np.zeros(self.laws.num_pairs)
        for i, table in enumerate(laws.reward):
            near = [i] if laws.env.private_rewards else laws.neighbors[i]
            total += (table / self.n).reshape([laws.num_pairs[j] if j in near else 1 for j in range(self.n)])
        return total.reshape(-1)

    def _check_size(self, memory: float) -> None:
        per_state = 4 * self.n + 4  # states, pairs and actions of all agents
        per_state += sum(self.laws.num_states) * self.follows
        least = 8 * (6 * self.num_pairs + per_state * self.num_states)
        if least > memory * 2**30:
            raise ConfigError(
                f"{size(self.num_states)} joint states with {size(self.num_pairs)} joint pairs need {gib(least)} GiB at "
                f"least to find the optimum, more than the {memory:g} GiB allowed; use a smaller network "
                "or allow more memory"
            )
        if self.num_pairs > MOST_PAIRS:
            raise ConfigError(
                f"{size(self.num_states)} joint states with {size(self.num_pairs)} joint pairs are more than the "
                f"{size(MOST_PAIRS)} pairs among which the optimum is looked for; use a smaller network"
            )
