"""summary.json holds the few numbers of a run that tables and sweeps are made of."""

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np

from marl.trainers.evaluation import Evaluation
from marl.trainers.trainer import Trainer

PACKAGES = ("networked-marl", "torch", "numpy", "numba", "networkx", "hydra-core", "tensorboard")


def summary_of(
    config: dict[str, Any],
    depends: Mapping[str, Any],
    trainer: Trainer,
    average_reward: list[float],
    steps_per_second: tuple[float, float],
    status: str,
    *,
    reason: str = "",
    evaluation: Evaluation | None = None,
    discounted_return: list[float] | None = None,
) -> dict[str, Any]:
    """Makes summary.json.

    average_reward, eval_average_reward: per replica, per agent and step; the former over the last 10 % of training.

    env_steps_per_second: steps of the clock by the time from the first of them to the last checkpoint, log points and
    checkpoints included; agent_steps_per_second multiplies by replicas and agents. training_steps_per_second: by the time
    that learning and log points took.
    discounted_return: per replica, the mean over agents of sum_t gamma^t r_i, for trainers whose score it is.
    environment, code: digests of what the environment holds and of the code of parts of one's own, in case they change.
    status: `finished`, `diverged` or `failed`, the latter two with `reason`.
    """
    whole, training = steps_per_second
    summary: dict[str, Any] = {
        "status": status,
        "average_reward": average_reward,
        "steps": trainer.t,
        "replicas": trainer.replicas,
        "seed": trainer.seed,
        "engine": trainer.engine,
        "env_steps_per_second": whole,
        "agent_steps_per_second": whole * trainer.replicas * trainer.env.n,
        "training_steps_per_second": training,
        **depends,
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
    """Averages over replicas, for a printed line."""
    return float(np.mean([float("nan") if x is None else x for x in values])) if values else float("nan")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
