"""summary.json: the few numbers of a run that tables and sweeps are made of."""

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from marl.trainers.evaluation import Evaluation
from marl.trainers.trainer import Trainer

PACKAGES = ("marl", "torch", "numpy", "numba", "networkx", "hydra-core", "tensorboard")


class LastTenth:
    """The average reward from step `start` = 0.9 * steps on, per replica, to the step.

    A run that is continued to more steps measures from where its new last tenth begins, or from where it goes on if
    that is later.
    """

    def __init__(self, steps: int):
        self.start = steps - max(1, steps // 10)
        self._begun = -1
        self._before = torch.empty(0)

    def reach(self, trainer: Trainer) -> None:
        """To be called at every stop; remembers the reward so far when the last tenth begins."""
        if self._begun < 0 and trainer.t >= self.start:
            self._begun, self._before = trainer.t, trainer.total_reward

    def average(self, trainer: Trainer) -> list[float]:
        """Per replica, over agents and the steps since; empty before the first of them."""
        if self._begun < 0 or trainer.t <= self._begun:
            return []
        return ((trainer.total_reward - self._before) / (trainer.t - self._begun)).tolist()

    def state_dict(self) -> dict[str, Any]:
        """start, and where and with how much reward it was reached, if it was."""
        return {"start": self.start, "begun": self._begun, "before": self._before}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on measuring, if the run still has the same length."""
        if state["start"] == self.start:
            self._begun, self._before = state["begun"], state["before"]


def last_tenth_of(arrays: Mapping[str, np.ndarray], tag: str) -> list[float] | None:
    """The mean of a logged metric [L, B] over the log points of the last tenth, per replica; None if it was not logged."""
    if tag not in arrays:
        return None
    late = arrays["step"] > 0.9 * arrays["step"][-1]
    return np.asarray(arrays[tag][late].mean(axis=0)).tolist()


def summary_of(
    config: dict[str, Any],
    environment: str,
    trainer: Trainer,
    average_reward: list[float],
    steps_per_second: float,
    status: str,
    *,
    reason: str = "",
    evaluation: Evaluation | None = None,
    discounted_return: list[float] | None = None,
) -> dict[str, Any]:
    """average_reward, eval_average_reward: per replica, per agent and step; the former over the last 10 % of training.

    env_steps_per_second counts steps of the clock; agent_steps_per_second multiplies by replicas and agents.
    discounted_return: per replica, the mean over agents of sum_t gamma^t r_i, for trainers whose score it is.
    environment: a digest of what it holds, in case a file it was read from changes.
    status: `finished`, `diverged` or `failed`, the latter two with `reason`.
    """
    summary: dict[str, Any] = {
        "status": status,
        "average_reward": average_reward,
        "steps": trainer.t,
        "replicas": trainer.replicas,
        "seed": trainer.seed,
        "engine": trainer.engine,
        "env_steps_per_second": steps_per_second,
        "agent_steps_per_second": steps_per_second * trainer.replicas * trainer.env.n,
        "environment": environment,
        "config": config,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }
    if discounted_return is not None:
        summary["discounted_return"] = discounted_return
    if reason:
        summary["reason"] = reason
    if evaluation is not None:
        summary["eval_average_reward"] = evaluation.average_reward.tolist()
        summary["eval_half_width"] = evaluation.half_width.tolist()
        summary["eval_segments"] = evaluation.segments.tolist()
    return summary


def mean(values: list[float | None]) -> float:
    """The mean over replicas, for a printed line."""
    return float(np.mean([float("nan") if x is None else x for x in values])) if values else float("nan")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
