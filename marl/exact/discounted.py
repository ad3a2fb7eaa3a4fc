"""The discounted setting on small networks has its values, the gradient of J^gamma, and what decay needs here.

    Q_i(s, a) = sum_t gamma^t E[r_i(t) | s, a] (12),  V_i(s) = sum_a zeta(a|s) Q_i(s, a),  J^gamma = E_start[sum_i V_i] / n

Values are found as V_i = W_i + delta_i / (1 - gamma) with W_i + delta_i = r_theta,i + gamma P_theta W_i (a constant in W_i
is free). At gamma = 1 that is the Poisson equation (V_i and J_i), so differences of Q lose no digits on the way there.

Decay (Corollary 1, by discounting alone) of own-state policies. z_i(t) depends on z(0) through N_i^t only: one hop a step.
From z and z' that agree on N_i^kappa, r_i(t) has one law until t = kappa if it sees z_i, until t = kappa - 1 if it sees
z_{N_i}. So

    |Q_i(z) - Q_i(z')| <= span(r_i) gamma^first / (1 - gamma),  first = kappa + 1 (private rewards) or kappa (others),

with equality for agents that copy a neighbor. `certificate(gamma=...)` takes the smaller of this and the sum of gamma^t
C^t. Lemma 2 is that of the average reward: (a) |Qtilde_i - Q_i| <= b_i, the largest left side of (4). (b) Given s(t), the
mean of grad log zeta_i is 0, and Qtilde_j of a j outside N_i^kappa does not see z_i, so

    h_i - grad_i J^gamma = sum_t gamma^t E[(1/n) sum_j (Qtilde_j - Q_j) grad log zeta_i],  j over all agents,

whose norm is at most L_i / (1 - gamma) (1/n) sum_j b_j <= L_i span gamma^first / (1 - gamma)^2.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from marl.core.checks import number
from marl.core.errors import ConfigError
from marl.core.shapes import Whole
from marl.exact import dense, poisson
from marl.exact.chain import Chain
from marl.exact.gradient import Gradient, summed_q, through_policy
from marl.exact.truncation import JointPairs
from marl.exact.values import Values, check_pairs, next_value


@final
class DiscountedValues(Values):
    """This solves for Q_i and V_i of (12), of some or all agents.

    gamma: below 1. start: the law of s(0) over joint states [X], None = uniform. `agents`: which (None = all).
    `solution` holds W for V and delta for J; the error of V_i is at most residual / (2 (1 - gamma)).
    Errors: `ConfigError` for a gamma, start or agent that is none, and where the iteration is too slow.
    """

    def __init__(
        self,
        chain: Chain,
        gamma: float,
        start: Float[Tensor, "X"] | None = None,
        agents: Sequence[int] | None = None,
    ):
        self.chain = chain
        self.agents = chain.laws.checked(agents)
        self.gamma = _below_one(gamma)
        self.start = _law(chain, start)
        self.solution = discounted_solution(chain, self.gamma, chain.rewards(self.agents))

    @property
    def J(self) -> Float[Tensor, "C"]:  # noqa: N802
        """J_i is E_start V_i. The network's J^gamma is their mean over all agents."""
        return self.start @ self.V

    @cached_property
    def V(self) -> Float[Tensor, "X C"]:  # noqa: N802
        """V_i(s) is sum_t gamma^t E[r_i(t) | s(0) = s]."""
        return self.solution.V + self.solution.J / (1.0 - self.gamma)

    @cached_property
    def occupancy(self) -> Float[Tensor, "X"]:
        """The discounted occupancy of a joint state is sum_t gamma^t Pr[s(t) = s]; its total mass is 1 / (1 - gamma)."""
        return _occupancy(self.chain, self.gamma, self.start)

    @property
    def state_weights(self) -> Float[Tensor, "X"]:
        """The weights are the discounted occupancy."""
        return self.occupancy

    def q(self, s: Whole, a: Whole) -> Float[Tensor, "*M C"]:
        """Q_i(s, a) is E r_i(s, a) + gamma sum_{s'} P(s'|s, a) V_i(s'). Errors: `ConfigError` at illegal pairs."""
        return self.relative_q(s, a) + self.gamma / (1.0 - self.gamma) * self.solution.J

    def relative_q(self, s: Whole, a: Whole) -> Float[Tensor, "*M C"]:
        """Q_i up to a constant per agent has the same accuracy for every gamma. Errors: as `q`."""
        s, a = check_pairs(self.chain, s, a)
        r = self.chain.laws.env.reward(s, a)[..., self.agents]
        return r + self.gamma * next_value(self.chain, self.solution.V.numpy(), s, a)


def discounted_pairs(chain: Chain, gamma: float, start: Float[Tensor, "X"] | None = None) -> JointPairs:
    """Makes Q_i at every z for `truncated_q` (5), `approximate_gradient` (7, of J^gamma) and `worst_decay` (4).

    Its `pair_weights` are the discounted occupancy. There is no stationary law, so `critic_error` refuses it.
    Errors: as `JointPairs` and `DiscountedValues`.
    """
    return JointPairs(chain, DiscountedValues(chain, gamma, start))


def discounted_gradient(chain: Chain, gamma: float, start: Float[Tensor, "X"] | None = None) -> Gradient:
    """Computes grad J^gamma = sum_t gamma^t E[Q grad log zeta], Q = (1/n) sum_i Q_i. Errors: as `DiscountedValues`.

    As in Lemma 1 it is the sum over i, x, a_i of G_i(x, a_i) grad zeta_i(a_i|x), x = s_{O_i}, G_i the occupancy of x times
    the mean of Q given (x, a_i), up to what a_i has no part in.
    """
    gamma = _below_one(gamma)
    visits = _occupancy(chain, gamma, _law(chain, start)).numpy()
    values = discounted_solution(chain, gamma, chain.rewards().mean(axis=1, keepdims=True)).V.numpy()[:, 0]
    return through_policy(chain.policy, chain.replica, summed_q(chain, visits, values, gamma))


def discounted_gradient_by_autograd(chain: Chain, gamma: float, start: Float[Tensor, "X"] | None = None) -> Gradient:
    """Computes grad J^gamma by differentiating start (I - gamma P)^-1 r. Errors: `ConfigError` beyond 4096 joint states."""
    gamma, law = _below_one(gamma), _law(chain, start)
    tables = [torch.from_numpy(table).clone().requires_grad_() for table in chain.tables]
    matrix = dense.transition_matrix(chain.laws, tables, chain.seen)
    system = torch.eye(chain.num_states, dtype=torch.float64) - gamma * matrix
    total = law @ torch.linalg.solve(system, dense.expected_rewards(chain.laws, tables, chain.seen).mean(dim=1))
    return through_policy(chain.policy, chain.replica, [part.numpy() for part in torch.autograd.grad(total, tables)])


def _below_one(gamma: float) -> float:
    if number("gamma", gamma, 0.0, 1.0) == 1.0:
        raise ConfigError("gamma must be below 1 for discounted values, got 1; the average reward has `AverageValues`")
    return float(gamma)


def _law(chain: Chain, start: Tensor | None) -> Float[Tensor, "X"]:
    if start is None:
        return torch.full((chain.num_states,), 1.0 / chain.num_states, dtype=torch.float64)
    law = torch.as_tensor(start, dtype=torch.float64)
    if law.shape != (chain.num_states,) or not (law >= 0.0).all() or not abs(float(law.sum()) - 1.0) <= 1e-9:
        raise ConfigError(
            f"start must be a law over the {chain.num_states} joint states, not negative and with sum 1, got shape "
            f"{list(law.shape)} and sum {float(law.sum()):.9g}"
        )
    return law / law.sum()


def discounted_solution(chain: Chain, gamma: float, rewards: Float[np.ndarray, "X C"]) -> poisson.Solution:
    """Solves for W and delta of every column, which stand for V and J: V = W + delta / (1 - gamma)."""

    def change(w: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = rewards + gamma * chain.expect(w) - w
        return found, found.min(axis=0), found.max(axis=0)

    def improved(w: np.ndarray) -> tuple[np.ndarray, float]:
        found, low, high = change(w)
        return w + found - (low + high) / 2, float((high - low).max())

    def direct() -> tuple[np.ndarray, int]:
        w = torch.linalg.solve(poisson.system(gamma * chain.matrix), torch.from_numpy(rewards)).numpy()
        w[0] = 0.0  # delta stood here
        return w, 0

    scale = float(np.ptp(rewards, axis=0).max())
    w, iterations = _by_method(chain, direct, lambda: _iterated(improved, np.zeros_like(rewards), scale))
    low, high = (torch.from_numpy(side) for side in change(w)[1:])
    return poisson.Solution(chain, (low + high) / 2, torch.from_numpy(w), high - low, iterations)


def _occupancy(chain: Chain, gamma: float, start: Float[Tensor, "X"]) -> Float[Tensor, "X"]:
    """Computes sum_t gamma^t start P^t."""

    def moved(w: np.ndarray) -> tuple[np.ndarray, float]:
        after = (1.0 - gamma) * start.numpy()[:, None] + gamma * chain.push(w)
        after /= after.sum()
        return after, float(np.abs(after - w).sum())

    def direct() -> tuple[np.ndarray, int]:
        system = torch.eye(chain.num_states, dtype=torch.float64) - gamma * chain.matrix.T
        return torch.linalg.solve(system, (1.0 - gamma) * start)[:, None].numpy(), 0

    w, _ = _by_method(chain, direct, lambda: _iterated(moved, start.numpy()[:, None], 1.0))
    return torch.from_numpy(w[:, 0]) / (1.0 - gamma)


def _iterated(
    step: Callable[[np.ndarray], tuple[np.ndarray, float]], now: np.ndarray, scale: float
) -> tuple[np.ndarray, int]:
    """Repeats a step whose size falls, by gamma at least, until it is small or falls no more, which is rounding."""
    last = np.inf
    for count in range(1, poisson.MOST_ITERATIONS + 1):
        now, size = step(now)
        if size <= poisson.TOLERANCE * scale or size >= last:
            return now, count
        last = size
    raise poisson.TooSlowError(
        f"gamma is too near 1 for a chain that mixes so slowly: after {count} iterations the increment is still {last:.1e} "
        f"of {scale:.1e}; use method=dense (up to {dense.MOST_STATES} joint states) or a smaller gamma"
    )


def _by_method(
    chain: Chain, direct: Callable[[], tuple[np.ndarray, int]], iterated: Callable[[], tuple[np.ndarray, int]]
) -> tuple[np.ndarray, int]:
    """Solves by the chain's method; a chain that chose to iterate and mixes too slowly is solved directly if small."""
    if chain.method == "free":
        try:
            return iterated()
        except poisson.TooSlowError:
            if not chain.fall_back():
                raise
    return direct()
