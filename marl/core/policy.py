"""A policy is zeta_i(a_i | s_i; theta_i): each agent sees its own state, or those of its neighborhood too."""

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from marl.core.checks import integer
from marl.core.environment import ALMOST_ONE, Environment, finite_environment
from marl.core.errors import ConfigError
from marl.core.indexing import last_actions
from marl.core.noise import Initializer, Purpose
from marl.core.shapes import Actions, ActionValues, States, Values, Whole
from marl.core.snapshot import SnapshotModule
from marl.core.whole import whole


class Policy(SnapshotModule, ABC):
    """This is the base class of policies: implement `_logits`; everything else is given.

    `replicas` independent copies are kept side by side; parameters start with the replica axis:
    `self.initial.zeros(n, ...)` and `self.initial.uniform(n, ..., bound=...)` make them. States and actions may be given as
    whole numbers of any kind (tensors, arrays, lists); `_logits` sees int64.

    score_bound: L_i of Assumption 5, a bound on ||grad log zeta_i(a_i|s_i)|| for all parameters, where one is known.
    hops: how far an agent sees: 0 = its own state alone, as in the paper; k = the states of N_i^k; None = all states.
    """

    score_bound: float | None = None
    hops: int | None = 0
    _illegal: Tensor
    _last_legal: Tensor
    _row: Tensor

    def __init__(self, env: Environment, *, replicas: int = 1, seed: int = 0, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.env = env = finite_environment(env, type(self).__name__)
        self.replicas = integer("policy.replicas", replicas, 1)
        self.dtype = dtype
        self.initial = Initializer(seed, self.replicas, dtype, Purpose.POLICY_INIT)
        states, actions = env.action_mask.shape[1:]
        self.register_buffer("_illegal", ~env.action_mask.reshape(-1, actions), persistent=False)
        self.register_buffer("_last_legal", last_actions(env.action_mask).flatten(), persistent=False)
        self.register_buffer("_row", torch.arange(env.n) * states, persistent=False)

    @property
    def localized(self) -> bool:
        """Tells whether zeta_i sees s_i alone."""
        return self.hops == 0

    @abstractmethod
    def _logits(self, s: Tensor) -> Tensor:
        """Returns unnormalized log-probabilities at states s; illegal actions are masked by the caller.

        Shapes: s [B, n] -> [B, n, A]; or [K, B, n] for the K steps of a rollout (axes before B broadcast) -> [K, B, n, A].
        """

    def log_probs(self, s: Whole) -> ActionValues:
        """Returns log zeta_i(. | s_i), -inf on illegal actions. Shapes: s [*K, B, n] -> [*K, B, n, A]."""
        row = self._row
        s = whole("states", s).to(row.device)
        illegal = self._illegal[row + s]
        return torch.log_softmax(self._logits(s).masked_fill(illegal, -torch.inf), dim=-1)

    def probs(self, s: Whole) -> ActionValues:
        """Returns zeta_i(. | s_i). Shapes: s [*K, B, n] -> [*K, B, n, A]."""
        return self.log_probs(s).exp()

    def log_prob(self, s: Whole, a: Whole) -> Values:
        """Returns log zeta_i(a_i | s_i). Shapes: s, a [*K, B, n] -> [*K, B, n]."""
        return of_actions(self.log_probs(s), whole("actions", a))

    @torch.no_grad()
    def sample(self, s: Whole, u: Values) -> Actions:
        """Draws a_i by inverse CDF: the first action whose cumulative probability exceeds u_i in [0, 1).

        Should rounding leave the whole sum at or below u_i, it is the last action of positive probability.
        Shapes: s, u [*K, B, n] -> [*K, B, n].
        """
        s = whole("states", s)
        cdf = self.probs(s).cumsum(dim=-1)
        below = torch.minimum(u.to(cdf.device), cdf[..., -1].double() * ALMOST_ONE).unsqueeze(-1)
        passed = cdf.shape[-1] - (below < cdf).sum(dim=-1)  # all of them, if a probability is NaN
        return torch.minimum(passed, self._last_legal[self._row + s.to(cdf.device)]).to(s.device)

    @torch.no_grad()
    def act(self, s: Any, generator: torch.Generator | None = None) -> Tensor:
        """Draws the action of every agent, with torch's own noise.

        Shapes: s [B, n], or [n] for the same state in every replica -> [B, n]; [n] if s is [n]
        and there is one replica. Errors: `ConfigError` if s is no state of the network.
        """
        given = whole(f"a state is {self.env.n} integers, one per agent: they", s)
        if given.shape not in ((self.env.n,), (self.replicas, self.env.n)):
            raise ConfigError(
                f"a state is {self.env.n} integers, one per agent, or {self.replicas} rows of them, got {list(given.shape)}"
            )
        wrong = ((given < 0) | (given >= self.env.num_states)).nonzero()
        if len(wrong):
            i = int(wrong[0, -1])
            found = int(given[tuple(wrong[0])])
            raise ConfigError(f"agent {i} has states 0 to {int(self.env.num_states[i]) - 1}, got {found}")
        u = torch.rand(self.replicas, self.env.n, dtype=torch.float64, generator=generator)
        a = self.sample(given.expand(self.replicas, -1), u)
        return a[0] if given.ndim == 1 and self.replicas == 1 else a

    @torch.no_grad()
    def probability_table(self) -> Tensor:
        """Writes zeta_i(a|s_i) out, 0 where (s_i, a) is illegal or does not exist. Shapes: [B, n, S, A].

        Errors: `ConfigError` if the policy is not localized.
        """
        if not self.localized:
            raise ConfigError(f"{type(self).__name__} looks at the states of neighbors, so it is no table over own states")
        states = self.env.action_mask.shape[1]
        s = torch.minimum(torch.arange(states)[:, None], self.env.num_states - 1)
        table = self.probs(s[:, None].expand(-1, self.replicas, -1))
        return table.movedim(0, 2) * self.env.action_mask.to(table.device)

    def entropy(self, s: Whole) -> Values:
        """Returns -sum_a zeta log zeta in nats. Shapes: s [*K, B, n] -> [*K, B, n]."""
        return entropy_of(self.log_probs(s))


class NaturalGradientPolicy(Policy):
    """This policy can also say its Fisher information. Derive from it in place of `Policy`."""

    @abstractmethod
    def natural_gradient(self, s: States, damping: float) -> None:
        """Turns the gradients of the parameters into natural ones, F^-1 grad, F the Fisher information at the states s.

        Shapes: s [K, B, n], those of the rollout that the gradients are of.
        """


class TabularPolicy(Policy):
    """The logits of this policy are rows of a table, each free to take any value. Derive from it in place of `Policy`.

    Shapes: parameter theta [B, R, A].
    """

    theta: nn.Parameter

    @abstractmethod
    def rows(self, s: States) -> States:
        """Returns the row of theta, as [B R, A], from which every agent acts. Shapes: s [*K, B, n] -> [*K, B, n]."""

    def _logits(self, s: Tensor) -> Tensor:
        return F.embedding(self.rows(s), self.theta.view(-1, self.theta.shape[-1]))


def of_actions(log_probs: ActionValues, a: Actions) -> Values:
    """Returns the entries of the actions a. Shapes: log_probs [*K, B, n, A], a [*K, B, n] -> [*K, B, n]."""
    return log_probs.gather(-1, a.to(log_probs.device).unsqueeze(-1)).squeeze(-1)


def entropy_of(log_probs: ActionValues) -> Values:
    """Returns -sum_a zeta log zeta in nats, 0 log 0 = 0. Shapes: log_probs [*K, B, n, A] -> [*K, B, n]."""
    return -(log_probs.exp() * log_probs.clamp(min=torch.finfo(log_probs.dtype).min)).sum(dim=-1)
