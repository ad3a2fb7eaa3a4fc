"""The settings of a run besides its parts are read and checked once."""

import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from marl import build
from marl.core.checks import boolean, integer
from marl.core.errors import ConfigError
from marl.trainers.evaluation import BATCHES

KEYS = ("steps", "replicas", "seed", "dtype", "log_every", "threads", "eval", "checkpoint", "resume", "force")
"""The keys of a configuration besides those of its parts."""
LATER = ("references",)
"""Keys that a configuration of an earlier version lacks."""
_NESTED = {"eval": ("steps", "burn_in"), "checkpoint": ("every",)}
MAX_THREADS = 1024
LOG_POINTS = 200
"""So many, or a few fewer, unless `log_every` is given;"""
AGENTS_A_STEP = 2**17
"""and as many steps as this goes into the agents of all replicas lie between two: a log point takes as long as several."""
EVALUATED = 2000
"""So many steps are evaluated unless `eval.steps` is given,"""
MOST_EVALUATED = 2**27
"""or those of about so many steps of agents, if that is fewer."""


@dataclass(frozen=True)
class Settings:
    """This records what a configuration asks of a run; which parts the run consists of is read by `marl.build`.

    log_every_is_given: if not, `log_every` is a share of `steps`, and a run that is continued keeps what it had.
    threads: None = one for tensors and all cores for compiled replicas. eval_steps: None = by the number of agents.
    eval_burn_in: None = a share of eval_steps.
    checkpoint_every: None = by the clock, see `marl.runs.pace`.
    references: an optimum.json, or its directory, to show the curve beside.
    resume: whether there has to be a checkpoint. force: whether what is in the directory is replaced.
    """

    steps: int
    replicas: build.Replicas
    log_every: int
    log_every_is_given: bool
    threads: int | None
    eval_steps: int | None
    eval_burn_in: int | None
    checkpoint_every: int | None
    resume: bool
    force: bool
    references: str | None = None

    def log_every_of(self, agents: int) -> int:
        """Returns how many steps lie between two log points of a network of so many agents."""
        rare = -(-agents * self.replicas.count // AGENTS_A_STEP)
        return self.log_every if self.log_every_is_given else min(-(-rare // self.log_every) * self.log_every, self.steps)

    def eval_steps_of(self, agents: int) -> int:
        """Returns how many steps of a network of so many agents are evaluated at the end; 0 = none."""
        fewer = max(BATCHES, MOST_EVALUATED // agents)
        return min(EVALUATED, fewer) if self.eval_steps is None else self.eval_steps


def parse(config: Mapping[str, Any]) -> Settings:
    """Reads the settings of a configuration. Errors: `ConfigError` that names a key which is unknown, missing or wrong."""
    _check_names("", config, build.PARTS + KEYS, LATER)
    for group, names in _NESTED.items():
        _check_names(f"{group}.", config[group], names)
    steps, force = integer("steps", config["steps"], 1), boolean("force", config["force"])
    threads = parse_threads(config["threads"])
    checkpoint_every = config["checkpoint"]["every"]
    eval_steps, eval_burn_in = config["eval"]["steps"], config["eval"]["burn_in"]
    return Settings(
        steps=steps,
        replicas=build.replicas(config),
        log_every=_log_every(config, steps),
        log_every_is_given=config["log_every"] is not None,
        threads=threads,
        eval_steps=None if eval_steps is None else integer("eval.steps", eval_steps, 0 if eval_steps == 0 else BATCHES),
        eval_burn_in=None if eval_burn_in is None else integer("eval.burn_in", eval_burn_in, 0),
        checkpoint_every=None if checkpoint_every is None else integer("checkpoint.every", checkpoint_every, 1),
        resume=bool(config["resume"]),
        force=force,
        references=_place(config.get("references")),
    )


def parse_threads(value: Any) -> int | None:
    """Reads how many threads there may be, None for the default. Errors: `ConfigError`."""
    threads = None if value is None else integer("threads", value, 1)
    if threads is not None and threads > MAX_THREADS:
        raise ConfigError(f"threads must be at most {MAX_THREADS}, got {threads}; small tensors are fastest with 1")
    return threads


@contextlib.contextmanager
def threads_put_back() -> Iterator[None]:
    """Leaves torch and compiled loops the numbers of threads that they have, whatever is used inside."""
    tensors, loops = torch.get_num_threads(), _workers().allowed() if "numba" in sys.modules else MAX_THREADS
    try:
        yield
    finally:
        torch.set_num_threads(tensors)
        if "numba" in sys.modules:
            _workers().use(loops)


def use_threads(threads: int | None) -> None:
    """Sets the number, inside `threads_put_back`: None is one thread for tensors and all cores for compiled replicas."""
    torch.set_num_threads(threads or 1)
    if threads is not None or "numba" in sys.modules:
        _workers().use(threads or MAX_THREADS)


def _workers() -> Any:
    from marl.kernels import workers  # numba takes its time: only where it is used

    return workers


def _check_names(prefix: str, config: Any, known: Sequence[str], later: Sequence[str] = ()) -> None:
    if not isinstance(config, Mapping):
        raise ConfigError(f"{prefix[:-1]} must hold {', '.join(known)}, got {config!r}")
    for key in config:
        if key not in (*known, *later):
            names = ", ".join(prefix + name for name in (*known, *later))
            raise ConfigError(f"there is no key {prefix + str(key)!r}; there are: {names}")
    for key in known:
        if key not in config:
            raise ConfigError(
                f"the configuration lacks {prefix + key!r}; one of your own begins with defaults: [train, _self_]"
            )


def _place(references: Any) -> str | None:
    if references is None or (isinstance(references, str) and references):
        return references
    raise ConfigError(f"references must be a directory with an optimum.json, or null, got {references!r}")


def _log_every(config: Mapping[str, Any], steps: int) -> int:
    if config["log_every"] is None:
        log_every = _whole_rollouts(-(-steps // LOG_POINTS), config["trainer"], steps)
    else:
        log_every = integer("log_every", config["log_every"], 1)
    if log_every > steps:
        raise ConfigError(f"log_every={log_every} is more than steps={steps}, so nothing would be logged; make it smaller")
    return log_every


def _whole_rollouts(log_every: int, trainer: Any, steps: int) -> int:
    """Rounds up to whole rollouts, so that at every log point something has been learned since the one before."""
    rollout = trainer.get("rollout", 1) if isinstance(trainer, Mapping) else 1
    whole = isinstance(rollout, int) and 1 < rollout < steps
    return min(-(-log_every // rollout) * rollout, steps) if whole else log_every
