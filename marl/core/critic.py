"""Truncated critics learn Q_i(z_{N_i^kappa}), with their average-reward estimate mu_i."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from marl.core.checks import integer
from marl.core.environment import Environment, finite_environment
from marl.core.errors import ConfigError
from marl.core.indexing import NeighborhoodModule
from marl.core.noise import Initializer, Purpose
from marl.core.objective import Average, AverageByErrors, Differential, Objective
from marl.core.shapes import Actions, ActionValues, Losses, Rewards, States, Values, Whole
from marl.core.table import Table
from marl.core.whole import whole


class Transition(NamedTuple):
    """Experience is a step, z(t) -> r(t), z(t+1). Shapes: every field [*K, B, n]."""

    s: States
    a: Actions
    r: Rewards
    next_s: States
    next_a: Actions


class Critic(NeighborhoodModule, ABC):
    """This is the base class of critics: implement `_q`; everything else is given.

    Attributes: kappa; `objective`, what the values are of (the average reward, unless a trainer says otherwise); `table`,
    the entries of a critic that is a table as in the paper's theorems, None for any other; `neighborhood` (index, mask,
    size of N_i^kappa); `pair_index`, which numbers the pairs as `env.index` does, on the critic's device; `initial`, which
    makes parameters with the replica axis first.
    """

    objective: Objective
    table: Table | None
    _weight: Tensor

    def __init__(
        self,
        env: Environment,
        *,
        kappa: int = 0,
        replicas: int = 1,
        seed: int = 0,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        self.env = finite_environment(env, type(self).__name__)
        self.pair_index = self.env.index.shared()
        self.kappa = integer("critic.kappa", kappa, 0)
        self.neighborhood = env.network.neighborhood(self.kappa)
        self.replicas = integer("critic.replicas", replicas, 1)
        self.dtype = dtype
        self.initial = Initializer(seed, self.replicas, dtype, Purpose.CRITIC_INIT)
        self.objective = Average(self.replicas, env.n, dtype)
        self.table = None
        self.register_buffer("_weight", self._neighborhood_mask.to(dtype) / env.n, persistent=False)

    ignores_actions = False
    """Whether Q_i is the same for all actions: a value of states, for trainers that estimate advantages themselves."""

    @abstractmethod
    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        """Returns Q_i(z_{N_i^kappa}) at joint states and actions s, a, differentiable in the parameters.

        Shapes: s, a [B, n], or [K, B, n] for the K steps of a rollout (the axes before B broadcast) -> the same.
        """

    def q(self, s: Whole, a: Whole) -> Values:
        """Returns Q_i(z_{N_i^kappa}). Shapes: s, a [*K, B, n], whole numbers of any kind -> [*K, B, n]."""
        return self._q(*self._moved(s, a))

    def _moved(self, s: Any, a: Any) -> tuple[Tensor, Tensor]:
        """Returns states and actions as int64, where the critic is."""
        where = self._weight.device
        return whole("states", s).to(where), whole("actions", a).to(where)

    @property
    def mu(self) -> Tensor:
        """Returns the estimates mu_i of the average rewards [B, n].

        Errors: `ConfigError` if the objective is a discounted sum.
        """
        if not isinstance(self.objective, Differential):
            raise ConfigError(f"this {type(self).__name__} has no mu: its objective is a discounted sum")
        return self.objective.mu

    def loss(self, q: Values, step: Transition) -> Losses:
        """Returns sum_i delta_i^2 / 2 with delta_i = r_i - mu_i + Q_i(z(t+1)) - q_i; only `q` = Q(z(t)) is differentiated.

        A gradient step of size alpha on a table is exactly line 6. Where the objective is a discounted sum, the error is
        delta_i = r_i + gamma Q_i(z(t+1)) - q_i. Shapes: q [*K, B, n] -> [*K, B].
        """
        with torch.no_grad():
            target = self.centered(step.r) + self.objective.gamma * self.q(step.next_s, step.next_a)
        return self.distance(q, target)

    def centered(self, r: Rewards) -> Rewards:
        """Returns what a return sums up: r - mu, or r of a discounted sum. Shapes: r [*K, B, n] -> [*K, B, n]."""
        return self.objective.centered(r.to(self._weight))

    def distance(self, q: Values, target: Values) -> Losses:
        """Returns sum_i (target_i - q_i)^2 / 2. Shapes: q, target [*K, B, n] -> [*K, B]."""
        return 0.5 * (target - q).square().sum(dim=-1)

    def track_reward(self, r: Rewards, alpha: float) -> None:
        """Line 5: mu_i <- (1 - alpha) mu_i + alpha r_i. Shapes: r [B, n]."""
        self.objective.track(r.to(self._weight), alpha)

    def track(self, r: Rewards, alpha: float, change: Callable[[], Values]) -> None:
        """Takes the step of mu that the objective says: `track_reward`, or mu_i <- mu_i + c alpha delta_i; before line 6.

        change: gives Q_i(z(t+1)) - Q_i(z(t)), asked for only where errors are followed. Shapes: r, change [B, n].
        """
        if isinstance(self.objective, AverageByErrors):
            with torch.no_grad():
                self.objective.follow(self.centered(r) + change(), alpha)
        else:
            self.track_reward(r, alpha)

    def advantage(self, q: Values) -> Values:
        """Returns line 7's factor (1/n) sum_{j in N_i^kappa} q_j, detached. Shapes: q [*K, B, n] -> [*K, B, n]."""
        return (q.detach()[..., self._neighborhood_index] * self._weight).sum(dim=-1)


class CounterfactualCritic(Critic):
    """This critic also gives the values of actions that were not taken. Derive from it in place of `Critic`."""

    def counterfactual(self, s: Whole, a: Whole) -> ActionValues:
        """Returns (1/n) sum_{j in N_i^kappa} Q_j with a_i replaced by each action of i, detached.

        What does not depend on that action may be left out, and illegal actions have any value.

        Shapes: s, a [*K, B, n] -> [*K, B, n, A].
        """
        return self._counterfactual(*self._moved(s, a))

    @abstractmethod
    def _counterfactual(self, s: Tensor, a: Tensor) -> Tensor:
        """Computes `counterfactual` of s and a on the critic's device."""
