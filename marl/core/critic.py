"""Truncated critics Q_i(z_{N_i^kappa}) with their average-reward estimate mu_i."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.optim import Optimizer

from marl.core.environment import Environment
from marl.core.errors import ConfigError
from marl.core.fused import FusedTable
from marl.core.indexing import NeighborhoodModule
from marl.core.noise import Initializer, Purpose
from marl.core.shapes import Actions, ActionValues, Losses, PerReplica, Rewards, States, Values


class Transition(NamedTuple):
    """Experience, z(t) -> r(t), z(t+1). Shapes: every field [*K, B, n]; discount: what Q(z(t+1)) is worth."""

    s: States
    a: Actions
    r: Rewards
    next_s: States
    next_a: Actions
    discount: float = 1.0


class Critic(NeighborhoodModule, ABC):
    """Base class. Implement `_q`; everything else is given.

    Attributes: kappa; mu [B, n]; `neighborhood` (index, mask, size of N_i^kappa); `pair_index`, which numbers the pairs as
    `env.index` does, on the critic's device; `initial`, which makes parameters with the replica axis first.
    """

    mu: Tensor
    _weight: Tensor
    tabular = False
    """Whether Q_i is a table, one free number per joint pair, as in the paper's theorems."""

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
        self.env = env
        self.pair_index = env.index.shared()
        self.neighborhood = env.network.neighborhood(kappa)
        self.kappa = kappa
        self.replicas = replicas
        self.dtype = dtype
        self.initial = Initializer(seed, replicas, dtype, Purpose.CRITIC_INIT)
        self.register_buffer("mu", torch.zeros(replicas, env.n, dtype=dtype))
        self.register_buffer("_weight", self._neighborhood_mask.to(dtype) / env.n, persistent=False)

    ignores_actions = False
    """Whether Q_i is the same for all actions: a value of states, for trainers that estimate advantages themselves."""

    @abstractmethod
    def _q(self, s: Tensor, a: Tensor) -> Tensor:
        """Q_i(z_{N_i^kappa}) at joint states and actions s, a, differentiable in the parameters.

        Shapes: s, a [B, n], or [K, B, n] for the K steps of a rollout (the axes before B broadcast) -> the same.
        """

    def q(self, s: States, a: Actions) -> Values:
        """Q_i(z_{N_i^kappa}). Shapes: s, a [*K, B, n] -> [*K, B, n]."""
        device = self.mu.device
        return self._q(s.to(device), a.to(device))

    def loss(self, q: Values, step: Transition) -> Losses:
        """sum_i delta_i^2 / 2 with delta_i = r_i - mu_i + Q_i(z(t+1)) - q_i; only `q` = Q(z(t)) is differentiated.

        A gradient step of size alpha on a table is exactly line 6. With a discount below 1 the error is the discounted
        one, delta_i = r_i + discount Q_i(z(t+1)) - q_i. Shapes: q [*K, B, n] -> [*K, B].
        """
        with torch.no_grad():
            target = self.centered(step.r, step.discount) + step.discount * self.q(step.next_s, step.next_a)
        return self.distance(q, target)

    def centered(self, r: Rewards, discount: float) -> Rewards:
        """What is summed up in a return: r - mu, or r where discount < 1. Shapes: r [*K, B, n] -> [*K, B, n]."""
        return r.to(self.mu) - self.mu if discount == 1.0 else r.to(self.mu)

    def distance(self, q: Values, target: Values) -> Losses:
        """sum_i (target_i - q_i)^2 / 2. Shapes: q, target [*K, B, n] -> [*K, B]."""
        return 0.5 * (target - q).square().sum(dim=-1)

    def track_reward(self, r: Rewards, alpha: float) -> None:
        """Line 5: mu_i <- (1 - alpha) mu_i + alpha r_i. Shapes: r [B, n]."""
        self.mu.lerp_(r.to(self.mu), alpha)

    def advantage(self, q: Values) -> Values:
        """Line 7's factor (1/n) sum_{j in N_i^kappa} q_j, detached. Shapes: q [*K, B, n] -> [*K, B, n]."""
        return (q.detach()[..., self._neighborhood_index] * self._weight).sum(dim=-1)

    def counterfactual(self, s: States, a: Actions) -> ActionValues:
        """(1/n) sum_{j in N_i^kappa} Q_j with a_i replaced by each action of i, detached.

        What does not depend on that action may be left out, and illegal actions have any value.

        Shapes: s, a [*K, B, n] -> [*K, B, n, A]. Errors: `ConfigError` if the critic cannot tell.
        """
        return self._counterfactual(s.to(self.mu.device), a.to(self.mu.device))

    def _counterfactual(self, s: Tensor, a: Tensor) -> Tensor:
        raise ConfigError(
            f"trainer.gradient=all_actions needs the value of actions that were not taken, which {type(self).__name__} "
            "does not give; use trainer.gradient=sampled or a critic that does (additive, pairwise, neural)"
        )

    def visit(self, s: States, a: Actions) -> None:
        """Called once with every (s(t), a(t)) before it is learned; a growing table makes room here."""

    def updated(self, s: States, a: Actions) -> None:
        """Called after the entries of (s, a) changed, if the run uses `sup_norm`."""

    def track_sup_norm(self, on: bool) -> None:
        """Tells whether every step will ask for `sup_norm`. Errors: `ConfigError` if it cannot be known."""
        if on:
            self.sup_norm()

    def sup_norm(self) -> PerReplica:
        """max_i ||Q_i||_inf per replica [B], exact; only critics that can know it implement it."""
        raise ConfigError(
            f"trainer.rescale=true needs the largest |Q|, which {type(self).__name__} cannot know; "
            "set trainer.rescale=false or use critic=tabular"
        )

    def fused(self, steps: int) -> FusedTable | None:
        """The table, with room for `steps` more steps, for the fused engine; None (as here) if there is none."""
        return None

    def growth(self, steps: int) -> int:
        """Bytes by which the critic can at most grow within `steps` more steps."""
        return 0

    def check_optimizer(self, optimizer: Optimizer) -> None:
        """Errors: `ConfigError` if this critic cannot learn with `optimizer`."""

    def metrics(self) -> dict[str, float]:
        """Numbers worth logging beside the common ones."""
        return {}
