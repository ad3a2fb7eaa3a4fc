"""One training run in one directory: start or continue, checkpoint, evaluate, summarise."""

import contextlib
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from marl import build
from marl.core import checkpoint
from marl.core.checks import boolean, integer
from marl.core.errors import CheckpointError, ConfigError, DivergedError, RunFailedError
from marl.core.evaluation import BATCHES, Evaluation, evaluate
from marl.core.logger import Logger
from marl.core.trainer import Trainer
from marl.loggers import ArrayLogger, ProgressLogger
from marl.rundir import RunDirectory, differences
from marl.schedulers import TwoTimescale
from marl.summary import summary_of

log = logging.getLogger(__name__)


def train(config: dict[str, Any], directory: Path, provenance: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Trains as `config` says in `directory` and returns the summary (see `marl.summary`).

    A finished run of the same configuration is not run again; an unfinished one continues from its checkpoint;
    `force` starts anew. `provenance`: file name -> text, kept in `directory/.hydra`.

    Errors: `ConfigError` before anything is written; `DivergedError` after a summary with status `diverged`.
    """
    build.check_keys(config)
    folder = RunDirectory(directory)
    steps, force = integer("steps", config["steps"], 1), boolean("force", config["force"])
    torch.set_num_threads(integer("threads", config["threads"], 1))
    checkpoint_every = _or_share("checkpoint.every", config["checkpoint"]["every"], steps, 10)
    log_every = _or_share("log_every", config["log_every"], steps, 200)
    if log_every > steps:
        raise ConfigError(f"log_every={log_every} is more than steps={steps}, so nothing would be logged; make it smaller")
    if integer("eval.steps", config["eval"]["steps"], 0):
        integer("eval.steps", config["eval"]["steps"], BATCHES)
    if config["eval"]["burn_in"] is not None:
        integer("eval.burn_in", config["eval"]["burn_in"], 0)

    before = None if force else folder.finished(config)
    if before is not None:
        log.info("%s is finished already; force=true runs it again", directory)
        return before
    saved = None if force else folder.saved(config)
    if saved is not None and config["log_every"] is None:
        log_every = saved["log_every"]
    env = build.environment(config)
    board = build.logger(config, env, directory / "tb", saved["trainer"]["t"] if saved else 0)
    trainer = build.trainer(config, env, log_every)
    arrays = ArrayLogger()
    if saved is not None:
        trainer.load_state_dict(saved["trainer"])
        arrays.load_state_dict(saved["arrays"])
        log.info("continuing %s at step %d", directory, trainer.t)
    folder.open(config, provenance or {}, fresh=saved is None)
    log.info("%s", TwoTimescale.check(*build.step_sizes(config)))
    trainer.loggers = [arrays, *board, ProgressLogger(steps, trainer.t)]
    return _run(config, folder, trainer, arrays, board, steps, checkpoint_every)


def evaluate_run(directory: Path, steps: int, burn_in: int | None = None, seed: int | None = None) -> Evaluation:
    """Evaluates the policy of a run's checkpoint. Errors: `CheckpointError`, `ConfigError`."""
    config, state = checkpoint.load(directory / "checkpoint.pt")
    other = differences(RunDirectory(directory).config() or config, config)
    if other:
        raise CheckpointError(f"{directory}/checkpoint.pt is of another configuration than its run ({'; '.join(other)})")
    torch.set_num_threads(config["threads"])
    env = build.environment(config)
    policy = build.policy(config, env)
    policy.load_state_dict(state["trainer"]["policy"])
    return evaluate(env, policy, steps=steps, burn_in=burn_in, seed=config["seed"] if seed is None else seed)


def _run(
    config: dict[str, Any],
    folder: RunDirectory,
    trainer: Trainer,
    arrays: ArrayLogger,
    board: list[Logger],
    steps: int,
    checkpoint_every: int,
) -> dict[str, Any]:
    start, clock = trainer.t, time.perf_counter()
    try:
        while trainer.t < steps:
            trainer.run(min(checkpoint_every - trainer.t % checkpoint_every, steps - trainer.t))
            for logger in trainer.loggers:
                logger.flush()  # before the checkpoint: a run that goes on from it logs only what comes after
            folder.save(config, trainer, arrays)
        rate = (trainer.t - start) / (time.perf_counter() - clock)
        evaluation = _evaluate(config, trainer, board)
        _close(trainer)
        summary = summary_of(config, trainer, arrays, rate, "finished", evaluation=evaluation)
        folder.close(arrays, summary)
    except KeyboardInterrupt:
        _close(trainer)
        raise
    except Exception as error:
        rate = (trainer.t - start) / (time.perf_counter() - clock)
        status = "diverged" if isinstance(error, DivergedError) else "failed"
        with contextlib.suppress(OSError):  # the disk may be what failed
            _close(trainer)
            folder.close(arrays, summary_of(config, trainer, arrays, rate, status, reason=str(error)))
        if isinstance(error, OSError):
            raise RunFailedError(f"the run stopped at step {trainer.t}: {error}; its last checkpoint is whole") from None
        raise
    return summary


def _evaluate(config: dict[str, Any], trainer: Trainer, board: list[Logger]) -> Evaluation | None:
    if not config["eval"]["steps"]:
        return None
    evaluation = trainer.evaluate(config["eval"]["steps"], config["eval"]["burn_in"])
    for logger in board:
        logger.log(trainer.t, {"eval/average_reward": evaluation.average_reward.numpy()})
    return evaluation


def _close(trainer: Trainer) -> None:
    for logger in trainer.loggers:
        logger.close()


def _or_share(name: str, value: Any, steps: int, parts: int) -> int:
    return -(-steps // parts) if value is None else integer(name, value, 1)
