"""One training run in one directory is started or continued, checkpointed, evaluated and summarized here."""

import contextlib
import logging
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marl import build
from marl.core.errors import CheckpointError, ConfigError, DivergedError, MarlError, NotEnoughMemoryError, RunFailedError
from marl.core.logger import Logger
from marl.core.snapshot import in_place, uncopied
from marl.loggers import ArrayLogger, ProgressLogger
from marl.runs import checkpoint, references
from marl.runs.code import code_of
from marl.runs.directory import RunDirectory, what_it_depends_on
from marl.runs.interruption import postponed
from marl.runs.last_tenth import LastTenth, last_tenth_mean
from marl.runs.memory import forecast
from marl.runs.pace import Pace
from marl.runs.settings import Settings, parse, threads_put_back, use_threads
from marl.runs.summary import summary_of
from marl.schedulers import TwoTimescale
from marl.trainers.evaluation import Evaluation
from marl.trainers.trainer import Trainer

PIECE = 1.0
"""Seconds of training between two looks at whether someone wants the run to stop."""
_SMALLER = "use fewer replicas, a smaller critic.kappa or a smaller network"

log = logging.getLogger(__name__)


@threads_put_back()
def train(config: dict[str, Any], directory: Path, provenance: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Trains as `config` says in `directory` and returns the summary (see `marl.runs.summary`).

    A finished run of the same configuration is not run again; an unfinished one continues from its checkpoint;
    `force` starts anew. `provenance`: file name -> text, kept in `directory/.hydra`.

    Errors: `ConfigError` before anything is written; `DivergedError` after a summary with status `diverged`.
    """
    settings, folder = parse(config), RunDirectory(directory)
    use_threads(settings.threads)
    env = build.environment(config)
    depends = what_it_depends_on(config, env)
    before = None if settings.force else folder.finished(config, settings, depends)
    if before is not None:
        log.info("%s is finished already; force=true runs it again, marl evaluate measures its policy", directory)
        return before
    saved = None if settings.force else folder.saved(config, settings, depends)
    log_every = settings.log_every_of(env.n) if saved is None or settings.log_every_is_given else saved["log_every"]
    known = references.of_run(settings.references, directory, depends["environment"])
    lines = {} if known is None else known.lines
    board = build.logger(config, env, directory / "tb", saved["trainer"]["t"] if saved else 0, lines)
    with _memory_is_asked_for():
        trainer = build.trainer(config, env, settings.replicas, log_every)
    with uncopied():
        checkpoint.check_savable("the state of the trainer", trainer.state_dict())
    depends["code"] = code_of(config) | depends["code"]  # of all parts, now that they are imported
    arrays, tail = ArrayLogger(), LastTenth(settings.steps)
    if saved is not None:
        with _parts_of(directory / "checkpoint.pt"), uncopied():  # it is let go: no second copy of a large table
            trainer.load_state_dict(saved["trainer"])
            arrays.load_state_dict(saved["arrays"])
            tail.load_state_dict(saved["last_tenth"])
        folder.tell_other_code(saved, depends)
        log.info("continuing %s at step %d", directory, trainer.t)
    watchers = build.observed(config, trainer, [arrays, *board, ProgressLogger(settings.steps, trainer.t)])
    with _memory_is_asked_for():
        log.info("%s", forecast(trainer, trainer.env.n, *trainer.memory_ahead(settings.steps - trainer.t)))
    with folder.locked():
        folder.open(config, provenance or {}, fresh=saved is None)
        if known is not None:
            known.keep(directory)
        if any(parameter.requires_grad for parameter in trainer.policy.parameters()):
            log.info("%s", TwoTimescale.check(*build.step_sizes(config)))
        else:
            log.info("nothing is learned: %s has no parameters", type(trainer.policy).__name__)
        trainer.loggers = watchers
        if arrays.steps and arrays.steps[-1] == trainer.t:  # dropped with all from this step on
            for logger in board:
                logger.log(trainer.t, arrays.last)
        return _Run(config, settings, folder, depends, trainer, arrays, tail, board).go()


@dataclass
class _Run:
    """This is a run while it goes on."""

    config: dict[str, Any]
    settings: Settings
    folder: RunDirectory
    depends: dict[str, Any]
    trainer: Trainer
    arrays: ArrayLogger
    tail: LastTenth
    board: list[Logger]

    def __post_init__(self) -> None:
        self._pace, self._start, self._began, self._learning = Pace(), self.trainer.t, time.perf_counter(), 0.0

    def go(self) -> dict[str, Any]:
        """Trains to the end, evaluates and writes the summary, whatever happens."""
        trainer = self.trainer
        try:
            self._train()
            rates = self._rates()
            evaluation = self._evaluate()
            self._close()
            summary = self._summarize(rates, "finished", evaluation=evaluation)
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
                self._summarize(self._rates(), status, reason=str(error))
            if isinstance(error, OSError):
                text = f"the run stopped at step {trainer.t}: {error}; a checkpoint that it wrote before is whole"
                raise RunFailedError(text) from None
            if full:
                raise RunFailedError(
                    f"the run stopped at step {trainer.t}, its checkpoint is whole: {error}; {_SMALLER}"
                ) from None
            raise
        return summary

    def _train(self) -> None:
        """Trains in pieces of a second, after each of which Ctrl-C and SIGTERM leave a checkpoint."""
        trainer, piece = self.trainer, 1
        steps, every = self.settings.steps, self.settings.checkpoint_every or math.inf
        with postponed() as request:
            while trainer.t < steps:
                self.tail.reach(trainer)
                checkpoint = (trainer.t // every + 1) * every
                stops = (checkpoint, self.tail.start, steps, trainer.t + piece)
                begun, clock = trainer.t, time.perf_counter()
                trainer.run(int(min(stop for stop in stops if stop > trainer.t)) - trainer.t)
                seconds = time.perf_counter() - clock
                self._learning += seconds
                piece = max(1, min(int((trainer.t - begun) / max(seconds, 1e-9) * PIECE), 10 * piece))
                due = self._pace.due if every == math.inf else trainer.t == checkpoint
                if request.made or due or trainer.t == steps:
                    with self._pace.writing():
                        self._save()
                if request.made:
                    raise KeyboardInterrupt

    def _rates(self) -> tuple[float, float]:
        """Returns steps per second of the run so far, and of its learning alone."""
        steps, seconds = self.trainer.t - self._start, time.perf_counter() - self._began
        return steps / max(seconds, 1e-9), steps / max(self._learning, 1e-9)

    def _save(self) -> None:
        for logger in self.trainer.loggers:
            logger.flush()  # before the checkpoint: a run that goes on from it logs only what comes after
        with in_place():  # it is written at once: no second copy of a large table
            state = {
                **self.depends,
                "trainer": self.trainer.state_dict(),
                "arrays": self.arrays.state_dict(),
                "last_tenth": self.tail.state_dict(),
                "log_every": self.trainer.log_every,
            }
            self.folder.save(self.config, state)

    def _evaluate(self) -> Evaluation | None:
        steps = self.settings.eval_steps_of(self.trainer.env.n)
        if not steps:
            return None
        evaluation = self.trainer.evaluate(steps, self.settings.eval_burn_in)
        for logger in self.board:
            logger.log(self.trainer.t, {"eval/average_reward": evaluation.average_reward.numpy()})
        return evaluation

    def _summarize(self, rates: tuple[float, float], status: str, **more: Any) -> dict[str, Any]:
        average, arrays = self.tail.average(self.trainer), self.arrays.arrays()
        returns = arrays.get("train/discounted_return")
        returned = None if returns is None else last_tenth_mean(arrays["step"], returns).tolist()
        given = self.config, self.depends, self.trainer, average, rates, status
        summary = summary_of(*given, discounted_return=returned, **more)
        self.folder.close(arrays, summary)
        return summary

    def _close(self) -> None:
        for logger in self.trainer.loggers:
            logger.close()


@contextlib.contextmanager
def _parts_of(path: Path) -> Iterator[None]:
    """Turns what goes wrong while parts are loaded into `CheckpointError`: they are of another kind than they must be."""
    try:
        yield
    except MarlError:
        raise
    except (AttributeError, TypeError, KeyError, IndexError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged or not one of ours ({type(error).__name__})") from error


@contextlib.contextmanager
def _memory_is_asked_for() -> Iterator[None]:
    """Turns a lack of memory into `ConfigError`: nothing was written yet."""
    try:
        yield
    except NotEnoughMemoryError as error:
        raise ConfigError(f"{error}; {_SMALLER}") from None
