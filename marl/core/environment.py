"""An environment is n agents with local states, coupled over a network; it is stateless and pure.

The caller hands in the randomness, so the same inputs give the same outputs in any batch and an environment can be
sampled by a trainer, enumerated by a solver and bounded by a certificate without a second copy of its dynamics.
There are three kinds, each a special case of the one before: `Environment` (whatever the states are), `FiniteEnvironment`
(local states and actions are numbered) and `NetworkedMDP` (the law is stated as well). A part asks for the kind it needs.

Given (s, a) the next states are independent over agents and agent i's depends on its neighborhood only:

    P(s'|s, a) = prod_i P_i(s_i' | z_{N_i}),  r_i depends on z_{N_i},  z_i = (s_i, a_i)

(equation (1) of the paper, one step more general: neighbors' actions may enter).
"""

from abc import ABC, abstractmethod
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from marl.core.checks import integer
from marl.core.errors import ConfigError
from marl.core.indexing import PairIndex
from marl.core.network import Network
from marl.core.shapes import Uniforms, Whole
from marl.core.threads import survive_forks
from marl.core.whole import truths, whole

ALMOST_ONE = 1.0 - 2.0**-53
MAX_MASK = 2**26
"""Largest n * S * A that is laid out as the table of legal actions."""


class Environment(ABC):
    """This is the base class of environments: implement `_reset` and `_step`; call `super().__init__` with the facts below.

    network: who is whose neighbor.
    num_uniforms: uniforms that one agent needs for one step (the action's draw not counted).
    reward_range: (low, high) of any r_i.
    private_actions: P_i sees only a_i of the actions. private_rewards: r_i sees only z_i.
    """

    def __init__(
        self,
        network: Network,
        *,
        num_uniforms: int,
        reward_range: tuple[float, float],
        private_actions: bool,
        private_rewards: bool,
        **sizes: Any,
    ):
        if sizes:
            raise ConfigError(
                f"{type(self).__name__} hands {', '.join(sizes)} on to Environment, which knows of no sizes; an "
                "environment with numbered states and actions derives from marl.FiniteEnvironment"
            )
        if not isinstance(network, Network):
            raise ConfigError(
                f"{type(self).__name__} needs a marl.Network, got {type(network).__name__}; "
                "Network.from_edges(n, edges) and Network.from_networkx(graph) make one"
            )
        survive_forks()
        self.network = network
        self.num_uniforms = integer("num_uniforms", num_uniforms, 0)
        self.reward_range = reward_range
        self.private_actions = private_actions
        self.private_rewards = private_rewards

    @property
    def n(self) -> int:
        """Returns the number of agents."""
        return self.network.n

    def reset(self, u: Uniforms) -> Shaped[Tensor, "B n ..."]:
        """Draws the states at the start of a run. Shapes: u [B, n, num_uniforms] in [0, 1) -> s [B, n, ...]."""
        return self._reset(u)

    def step(
        self, s: Shaped[Tensor, "B n ..."], a: Shaped[Tensor, "B n ..."], u: Uniforms
    ) -> tuple[Shaped[Tensor, "B n ..."], Float[Tensor, "B n"]]:
        """Moves all agents one step: (s', r). Shapes: s, a [B, n, ...], u [B, n, num_uniforms] -> s' as s, r [B, n]."""
        return self._step(s, a, u)

    def contains(self, s: Tensor, a: Tensor) -> bool:
        """Says whether every s is a joint state of this environment and every a a joint action that is legal in it.

        A trainer asks before it goes on from what was saved. Shapes: any are answered.
        """
        return self._contains(s, a)

    @abstractmethod
    def _reset(self, u: Tensor) -> Tensor:
        """Does what `reset` says."""

    @abstractmethod
    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Does what `step` says."""

    def _contains(self, s: Tensor, a: Tensor) -> bool:
        """Says whether there is one of each for every agent; kinds of environments that know more say more."""
        return s.shape[:2] == a.shape[:2] and s.shape[1:2] == (self.n,)


@runtime_checkable
class Bounded(Protocol):
    """This is an environment that knows, from its own model, how much can be had at most."""

    def reward_bound(self) -> float:
        """Bounds the average reward per agent and step of every policy, centralized ones included, from above.

        Errors: `ConfigError` if the environment is too large for it.
        """


class FiniteEnvironment(Environment):
    """This environment has numbered local states and actions, s, a [B, n] int64. Implement `_reset` and `_step`.

    num_states, num_actions [n]: sizes per agent; S and A are the largest.
    action_mask [n, S, A]: True where agent i may take action a in state s; False for padding.
    These, and states and actions, may be given as whole numbers of any kind (tensors, arrays, lists; a mask of 1 and 0);
    inside they are int64.
    facts: those of `Environment`.

    Attributes: also `index`, which numbers the legal pairs. Errors: `ConfigError` if the mask does not fit the sizes.
    """

    def __init__(
        self,
        network: Network,
        *,
        num_states: Any,
        num_actions: Any,
        action_mask: Any,
        num_uniforms: int,
        reward_range: tuple[float, float],
        private_actions: bool,
        private_rewards: bool,
    ):
        super().__init__(
            network,
            num_uniforms=num_uniforms,
            reward_range=reward_range,
            private_actions=private_actions,
            private_rewards=private_rewards,
        )
        name = type(self).__name__
        self.num_states = _sizes(f"{name}: num_states", num_states, self.n)
        self.num_actions = _sizes(f"{name}: num_actions", num_actions, self.n)
        self.action_mask = truths(f"{name}: action_mask", action_mask)
        self._check_facts()
        self.index = PairIndex(self.action_mask)

    def reset(self, u: Uniforms) -> Int64[Tensor, "B n"]:
        return whole(f"the states of {type(self).__name__}", self._reset(u))

    def step(self, s: Whole, a: Whole, u: Uniforms) -> tuple[Int64[Tensor, "B n"], Float[Tensor, "B n"]]:
        next_s, r = self._step(whole("states", s), whole("actions", a), u)
        return whole(f"the states of {type(self).__name__}", next_s), r

    def state_name(self, i: int, s: int) -> str:
        """Says what the state s of agent i is called, for people; an environment that has words for it says so."""
        return f"state {s}"

    def action_name(self, i: int, a: int) -> str:
        """Says what the action a of agent i is called, for people; likewise."""
        return f"action {a}"

    @property
    def pair_index(self) -> Int64[Tensor, "n S A"]:
        """Returns the number of every legal (s_i, a_i), compact per agent; -1 elsewhere."""
        return self.index.table

    def _contains(self, s: Tensor, a: Tensor) -> bool:
        if s.shape != a.shape or s.shape[1:] != (self.n,) or not s.dtype == a.dtype == torch.int64:
            return False
        sizes = (s, self.num_states), (a, self.num_actions)
        exist = all(bool(((x >= 0) & (x < size)).all()) for x, size in sizes)
        return exist and bool((self.index.pairs(s, a) >= 0).all())

    def _check_facts(self) -> None:
        name = type(self).__name__
        shape = (self.n, int(self.num_states.max()), int(self.num_actions.max()))
        if tuple(self.action_mask.shape) != shape:
            raise ConfigError(f"{name}: action_mask must have shape {shape}, got {tuple(self.action_mask.shape)}")
        real_state = torch.arange(shape[1]) < self.num_states[:, None]
        real_action = torch.arange(shape[2]) < self.num_actions[:, None]
        if (self.action_mask & ~(real_state[:, :, None] & real_action[:, None, :])).any():
            raise ConfigError(f"{name}: action_mask allows a padded state or action")
        if not self.action_mask.any(dim=2)[real_state].all():
            raise ConfigError(f"{name}: every state needs at least one legal action")


class NetworkedMDP(FiniteEnvironment):
    """This finite environment states its law. Implement `_transition`, `_reward` and `_reset`.

    The sampler is derived: next states by inverse CDF on the last uniform, rewards equal to their expectation.
    Override `_step` only where s_i' and r_i must be drawn jointly; a contract test holds it against the law.
    """

    def transition(self, s: Whole, a: Whole) -> Float[Tensor, "*X n S"]:
        """Gives P_i(s_i' | z_{N_i}), float64, zero on padding. Any leading axes."""
        return self._transition(whole("states", s), whole("actions", a))

    def reward(self, s: Whole, a: Whole) -> Float[Tensor, "*X n"]:
        """Gives E[r_i | z_{N_i}], float64. Any leading axes."""
        return self._reward(whole("states", s), whole("actions", a))

    @abstractmethod
    def _transition(self, s: Tensor, a: Tensor) -> Tensor:
        """Does what `transition` says."""

    @abstractmethod
    def _reward(self, s: Tensor, a: Tensor) -> Tensor:
        """Does what `reward` says."""

    def _step(self, s: Tensor, a: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        cdf = self._transition(s, a).cumsum(dim=-1)
        below = torch.minimum(u[..., -1:], cdf[..., -1:] * ALMOST_ONE)  # rounding must not reach an impossible state
        drawn = (below >= cdf).sum(dim=-1)
        return torch.minimum(drawn, self.num_states - 1), self._reward(s, a)


def _sizes(name: str, given: Any, n: int) -> Int64[Tensor, "n"]:
    sizes = whole(name, given)
    if sizes.shape != (n,) or not (sizes >= 1).all():
        got = f"shape {list(sizes.shape)}" if sizes.shape != (n,) else f"{int(sizes.min())}"
        raise ConfigError(f"{name} must hold a size of at least 1 for each of {n} agents, got {got}")
    return sizes


def finite_environment(env: Environment, needed_by: str) -> FiniteEnvironment:
    """Returns the environment itself if it is finite. Errors: `ConfigError` that names what it is `needed_by`, if not."""
    if not isinstance(env, FiniteEnvironment):
        raise ConfigError(
            f"{needed_by} needs numbered states and actions, which {type(env).__name__} does not have; "
            "use an environment that derives from marl.FiniteEnvironment"
        )
    return env
