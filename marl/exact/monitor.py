"""Exact numbers of the policy are logged while it learns, for networks that are small enough."""

import logging
import math
from collections.abc import Sequence

import numpy as np
import torch

from marl.core.checks import number
from marl.core.environment import NetworkedMDP
from marl.core.errors import ConfigError
from marl.core.logger import Logger, Metrics
from marl.core.policy import Policy
from marl.exact.certificate import certificate
from marl.exact.chain import Chain
from marl.exact.ergodicity import MOST_STATES, ergodicity
from marl.exact.gradient import gradient, norm
from marl.exact.local_laws import LocalLaws
from marl.exact.poisson import solve

log = logging.getLogger(__name__)


class ExactMonitor:
    """This logger adds exact numbers to the metrics of every log point and hands all on to `loggers`.

    Per replica: `exact/average_reward` (J), `exact/gradient_norm` (||grad J||, 0 where nothing is learned) and, if decay is
    certified for every policy, this one sees its own state alone, its score is bounded and the network has at most 1,024
    joint states, `exact/theorem2_bound`, the limit of ||grad J|| by Theorem 2: L b / (1 - mu_D), L^2 = sum_i L_i^2, b the
    largest certified left side of (4) at kappa (inf where Theorem 2 is vacuous). critic_kappa: the kappa of a tabular
    critic that learns the average reward; None, and no bound, for any other. The theorem is about step sizes that meet its
    Assumption 3, which every run reports.

    Errors: `ConfigError` before training, if the first policy has no exact numbers (its joint state is too large, or its
    chain has several recurrent classes). NaN, and a warning, if a later one has none: no reason to lose a run.
    """

    def __init__(
        self,
        env: NetworkedMDP,
        policy: Policy,
        critic_kappa: int | None,
        loggers: Sequence[Logger],
        memory: float = 4.0,
    ):
        self.policy, self.loggers = policy, loggers
        self._laws = LocalLaws(env)
        self._memory = number("callback.memory", memory, 0.0)
        promise = certificate(self._laws)  # for every policy of the own state
        start = self._chain(0)
        self._limit: float | None = None
        known = critic_kappa is not None and policy.score_bound is not None and start.num_states <= MOST_STATES
        if known and policy.localized and promise.bounds is not None:
            assert critic_kappa is not None
            assert policy.score_bound is not None
            decay = float(promise.bounds[critic_kappa:].amax()) if critic_kappa < len(promise.bounds) else 0.0
            self._limit = math.sqrt(env.n) * policy.score_bound * decay
        self._tags = tuple(self._numbers(start))  # refuses whatever cannot be computed

    def log(self, step: int, metrics: Metrics) -> None:
        """Solves the chain of every replica; the other loggers see one set of metrics."""
        rows = [self._numbers_or_nan(step, b) for b in range(self.policy.replicas)]
        exact = {f"exact/{tag}": np.array([row[tag] for row in rows]) for tag in self._tags}
        for logger in self.loggers:
            logger.log(step, {**metrics, **exact})

    def flush(self) -> None:
        for logger in self.loggers:
            logger.flush()

    def close(self) -> None:
        for logger in self.loggers:
            logger.close()

    def _chain(self, replica: int) -> Chain:
        return Chain(self._laws.env, self.policy, replica=replica, memory=self._memory, laws=self._laws)

    def _numbers_or_nan(self, step: int, replica: int) -> dict[str, float]:
        try:
            return self._numbers(self._chain(replica))
        except (ConfigError, torch.linalg.LinAlgError) as error:  # type: ignore[attr-defined]
            log.warning("no exact numbers of replica %d at step %d: %s", replica, step, error)
            return dict.fromkeys(self._tags, math.nan)

    def _numbers(self, chain: Chain) -> dict[str, float]:
        mean = chain.rewards().mean(axis=1, keepdims=True)
        found = {"average_reward": float(solve(chain, mean).J), "gradient_norm": norm(gradient(chain))}
        if self._limit is not None:
            mixing = ergodicity(chain)
            found["theorem2_bound"] = math.inf if mixing.vacuous else self._limit / (1.0 - mixing.mu_D)
        return found
