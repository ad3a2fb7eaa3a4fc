"""One training run in one directory: start or continue, checkpoint, evaluate, summarise."""

import contextlib
import logging
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from marl import build
from marl.core import checkpoint
from marl.core.checks import boolean, integer
from marl.core.errors import CheckpointError, ConfigError, DivergedError, MarlError, NotEnoughMemoryError, RunFailedError
from marl.core.logger import Logger
from marl.core.memory import forecast
from marl.core.policy import Policy
from marl.interruption import heard
from marl.loggers import ArrayLogger, ProgressLogger
from marl.rundir import RunDirectory, differences, fingerprint
from marl.schedulers import TwoTimescale
from marl.summary import LastTenth, last_tenth_of, summary_of
from marl.trainers.evaluation import BATCHES, Evaluation, evaluate
from marl.trainers.trainer import Trainer

MAX_THREADS = 1024
PIECE = 0.5
"""Seconds of training between two looks at whether someone wants the run to stop."""
_SMALLER = "use fewer replicas, a smaller critic.kappa or a smaller network"

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
    _use_threads(config["threads"])
    checkpoint_every = _or_share("checkpoint.every", config["checkpoint"]["every"], steps, 10)
    log_every = _or_share("log_every", config["log_every"], steps, 200)
    if config["log_every"] is None:
        log_every = _whole_rollouts(log_every, config["trainer"], steps)
    if log_every > steps:
        raise ConfigError(f"log_every={log_every} is more than steps={steps}, so nothing would be logged; make it smaller")
    _check_evaluation(**config["eval"])

    env = build.environment(config)
    environment = fingerprint(env)
    before = None if force else folder.finished(config, environment)
    if before is not None:
        log.info("%s is finished already; force=true runs it again, marl evaluate measures its policy", directory)
        return before
    saved = None if force else folder.saved(config, environment)
    if saved is not None and config["log_every"] is None:
        log_every = saved["log_every"]
    board = build.logger(config, env, directory / "tb", saved["trainer"]["t"] if saved else 0)
    with _memory_is_asked_for():
        trainer = build.trainer(config, env, log_every)
    arrays, tail = ArrayLogger(), LastTenth(steps)
    if saved is not None:
        with _parts_of(directory / "checkpoint.pt"):
            trainer.load_state_dict(saved["trainer"])
            arrays.load_state_dict(saved["arrays"])
            tail.load_state_dict(saved["last_tenth"])
        log.info("continuing %s at step %d", directory, trainer.t)
    watchers = build.observed(config, trainer, [arrays, *board, ProgressLogger(steps, trainer.t)])
    with _memory_is_asked_for():
        log.info("%s", forecast(trainer, trainer.env.n, *trainer.will_take(steps - trainer.t)))
    with folder.locked():
        folder.open(config, provenance or {}, fresh=saved is None)
        log.info("%s", TwoTimescale.check(*build.step_sizes(config)))
        trainer.loggers = watchers
        if arrays.steps and arrays.steps[-1] == trainer.t:  # dropped with all from this step on
            for logger in board:
                logger.log(trainer.t, arrays.last)
        return _Run(config, folder, environment, trainer, arrays, tail, board).go(steps, checkpoint_every)


def evaluate_run(directory: Path, steps: int, burn_in: int | None = None, seed: int | None = None) -> Evaluation:
    """Evaluates the policy of a run's checkpoint. Errors: `CheckpointError`, `ConfigError`."""
    config, policy = load(directory)
    return evaluate(policy.env, policy, steps=steps, burn_in=burn_in, seed=config["seed"] if seed is None else seed)


def load_policy(directory: str | Path, replica: int | None = None) -> Policy:
    """The trained policy of a run, of all its replicas or of one; `policy.act(s)` draws actions in `policy.env`.

    Errors: `CheckpointError` if there is no sound checkpoint, `ConfigError` if there is no such replica.
    """
    return load(Path(directory), replica)[1]


def load(directory: Path, replica: int | None = None) -> tuple[dict[str, Any], Policy]:
    """(configuration, policy) of a run's checkpoint, see `load_policy`."""
    config, state = checkpoint.load(directory / "checkpoint.pt")
    folder = RunDirectory(directory)
    other = differences(folder.config() or config, config)
    if other:
        raise CheckpointError(f"{directory}/checkpoint.pt is of another configuration than its run ({'; '.join(other)})")
    _use_threads(config["threads"])
    env = build.environment(config)
    folder.check_environment(state["environment"], fingerprint(env))
    learned, replicas = state["trainer"]["policy"], config["replicas"]
    if replica is not None:
        if integer("replica", replica, 0) >= replicas:
            raise ConfigError(f"{directory} has replicas 0 to {replicas - 1}, got replica={replica}")
        replicas = 1
    policy = build.policy({**config, "replicas": replicas}, env)
    try:
        if replica is not None:  # buffers have no axis of replicas
            own = dict(policy.named_parameters())
            learned = {name: held[replica : replica + 1] if name in own else held for name, held in learned.items()}
        policy.load_state_dict(learned)
    except (RuntimeError, KeyError, TypeError, AttributeError):
        raise CheckpointError(f"{directory}/checkpoint.pt holds another policy than its configuration says") from None
    return config, policy


@dataclass
class _Run:
    """What a run consists of while it goes on."""

    config: dict[str, Any]
    folder: RunDirectory
    environment: str
    trainer: Trainer
    arrays: ArrayLogger
    tail: LastTenth
    board: list[Logger]

    def go(self, steps: int, checkpoint_every: int) -> dict[str, Any]:
        """Trains to `steps`, evaluates and writes the summary, whatever happens."""
        trainer, start, clock = self.trainer, self.trainer.t, time.perf_counter()

        def rate() -> float:
            return (trainer.t - start) / (time.perf_counter() - clock)

        try:
            self._train(steps, checkpoint_every)
            trained = rate()
            evaluation = self._evaluate()
            self._close()
            summary = self._summarise(trained, "finished", evaluation=evaluation)
        except KeyboardInterrupt:
            self._close()
            raise
        except Exception as error:
            status = "diverged" if isinstance(error, DivergedError) else "failed"
            full = isinstance(error, NotEnoughMemoryError)
            with contextlib.suppress(OSError):  # the disk may be what failed
                if full:
                    self._save()
                self._close()
                self._summarise(rate(), status, reason=str(error))
            if isinstance(error, OSError):
                text = f"the run stopped at step {trainer.t}: {error}; a checkpoint that it wrote before is whole"
                raise RunFailedError(text) from None
            if full:
                raise RunFailedError(
                    f"the run stopped at step {trainer.t}, its checkpoint is whole: {error}; {_SMALLER}"
                ) from None
            raise
        return summary

    def _train(self, steps: int, checkpoint_every: int) -> None:
        """In pieces of half a second, between which a signal is heard: Ctrl-C and SIGTERM leave a checkpoint."""
        trainer, piece = self.trainer, 1
        with heard() as request:
            while trainer.t < steps:
                self.tail.reach(trainer)
                checkpoint = trainer.t - trainer.t % checkpoint_every + checkpoint_every
                stops = (checkpoint, self.tail.start, steps, trainer.t + piece)
                begun, clock = trainer.t, time.perf_counter()
                trainer.run(min(stop for stop in stops if stop > trainer.t) - trainer.t)
                rate = (trainer.t - begun) / max(time.perf_counter() - clock, 1e-9)
                piece = max(1, min(int(rate * PIECE), 10 * piece))
                if request.made or trainer.t in (checkpoint, steps):
                    self._save()
                if request.made:
                    raise KeyboardInterrupt

    def _save(self) -> None:
        for logger in self.trainer.loggers:
            logger.flush()  # before the checkpoint: a run that goes on from it logs only what comes after
        state = {
            "environment": self.environment,
            "trainer": self.trainer.state_dict(),
            "arrays": self.arrays.state_dict(),
            "last_tenth": self.tail.state_dict(),
            "log_every": self.trainer.log_every,
        }
        self.folder.save(self.config, state)

    def _evaluate(self) -> Evaluation | None:
        settings = self.config["eval"]
        if not settings["steps"]:
            return None
        evaluation = self.trainer.evaluate(settings["steps"], settings["burn_in"])
        for logger in self.board:
            logger.log(self.trainer.t, {"eval/average_reward": evaluation.average_reward.numpy()})
        return evaluation

    def _summarise(self, rate: float, status: str, **more: Any) -> dict[str, Any]:
        average, arrays = self.tail.average(self.trainer), self.arrays.arrays()
        returned = last_tenth_of(arrays, "train/discounted_return")
        given = self.config, self.environment, self.trainer, average, rate, status
        summary = summary_of(*given, discounted_return=returned, **more)
        self.folder.close(arrays, summary)
        return summary

    def _close(self) -> None:
        for logger in self.trainer.loggers:
            logger.close()


@contextlib.contextmanager
def _parts_of(path: Path) -> Iterator[None]:
    """Errors: `CheckpointError` if a part is of another kind than it must be."""
    try:
        yield
    except MarlError:
        raise
    except (AttributeError, TypeError, KeyError, IndexError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged or not one of ours ({type(error).__name__})") from error


@contextlib.contextmanager
def _memory_is_asked_for() -> Iterator[None]:
    """Errors: `ConfigError` if there is not enough of it, before anything is written."""
    try:
        yield
    except NotEnoughMemoryError as error:
        raise ConfigError(f"{error}; {_SMALLER}") from None


def _check_evaluation(steps: Any, burn_in: Any) -> None:
    integer("eval.steps", steps, 0 if steps == 0 else BATCHES)
    if burn_in is not None:
        integer("eval.burn_in", burn_in, 0)


def _use_threads(value: Any) -> None:
    """One thread for tensors and all cores for compiled replicas, unless `value` says how many for both."""
    threads = 1 if value is None else integer("threads", value, 1)
    if threads > MAX_THREADS:
        raise ConfigError(f"threads must be at most {MAX_THREADS}, got {threads}; small tensors are fastest with 1")
    torch.set_num_threads(threads)
    if value is not None or "numba" in sys.modules:
        from marl.kernels import workers  # numba takes its time: only where it is used

        workers.use(MAX_THREADS if value is None else threads)


def _whole_rollouts(log_every: int, trainer: Any, steps: int) -> int:
    """So that at every log point something has been learned since the one before."""
    rollout = trainer.get("rollout", 1) if isinstance(trainer, Mapping) else 1
    whole = isinstance(rollout, int) and 1 < rollout < steps
    return min(-(-log_every // rollout) * rollout, steps) if whole else log_every


def _or_share(name: str, value: Any, steps: int, parts: int) -> int:
    return -(-steps // parts) if value is None else integer(name, value, 1)
