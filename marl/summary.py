"""summary.json: the few numbers of a run that tables and sweeps are made of."""

import importlib.metadata
import platform
from typing import Any

import numpy as np

from marl.core.evaluation import Evaluation
from marl.core.trainer import Trainer
from marl.loggers import ArrayLogger

PACKAGES = ("marl", "torch", "numpy", "numba", "networkx", "hydra-core", "tensorboard")


def last_tenth_of(step: np.ndarray, metric: np.ndarray) -> list[float]:
    """Mean of a per-replica metric [L, B] over the log points of the last 10 % of steps (at least the last one); [B]."""
    return [float(mean) for mean in metric[step > 0.9 * step[-1]].mean(axis=0)] if len(step) else []


def summary_of(
    config: dict[str, Any],
    trainer: Trainer,
    arrays: ArrayLogger,
    steps_per_second: float,
    status: str,
    *,
    reason: str = "",
    evaluation: Evaluation | None = None,
) -> dict[str, Any]:
    """average_reward, eval_average_reward: per replica, per agent and step; the former over the last 10 % of training.

    env_steps_per_second counts steps of the clock; agent_steps_per_second multiplies by replicas and agents.
    status: `finished`, `diverged` or `failed`, the latter two with `reason`.
    """
    logged = arrays.arrays()
    summary: dict[str, Any] = {
        "status": status,
        "average_reward": last_tenth_of(logged["step"], logged.get("train/average_reward", np.empty(0))),
        "steps": trainer.t,
        "replicas": trainer.replicas,
        "seed": trainer.seed,
        "engine": trainer.engine,
        "env_steps_per_second": steps_per_second,
        "agent_steps_per_second": steps_per_second * trainer.replicas * trainer.env.n,
        "config": config,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}},
    }
    if reason:
        summary["reason"] = reason
    if evaluation is not None:
        summary["eval_average_reward"] = evaluation.average_reward.tolist()
        summary["eval_half_width"] = evaluation.half_width.tolist()
    return summary


def mean(values: list[float]) -> float:
    """The mean over replicas, for a printed line."""
    return float(np.mean(values)) if values else float("nan")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
