"""`marl train` lets Hydra compose the configuration and sweep; one run is `marl.runs.train`."""

import contextlib
import hashlib
import itertools
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from marl.cli import jobs, resume, words
from marl.cli.choices import check_choices
from marl.cli.help import conf_dir
from marl.cli.report import sentence
from marl.cli.search import OPTIONS, own_directories, own_first
from marl.core.errors import ConfigError, DivergedError, MarlError
from marl.core.files import started_in
from marl.runs import train
from marl.runs.directory import RunDirectory
from marl.runs.interruption import SIGNALS, handled
from marl.runs.summary import mean

NAMES = ["-cn", "--config-name"]
WITH_VALUE = ["-c", "--cfg", "-p", "--package", *OPTIONS, *NAMES, "-i", "--info"]
FLAGS = [*WITH_VALUE, "-m", "--multirun", "-r", "--run", "--resolve", "--hydra-help", "--version"]
LONGEST_NAME, SHORTENED = 200, 180
"""Bytes of a directory's name, of which file systems take 255, and of what is kept of a longer one."""
CLASHES = ("hydra.run.dir=", "hydra.sweep.", "force=true")
NEEDED = (
    "++hydra.output_subdir=null",
    "++hydra.callbacks.directories._target_=marl.cli.train.DirectoriesBefore",
    "++hydra.callbacks.jobs._target_=marl.cli.jobs.Jobs",
    "++hydra.callbacks.jobs.records='${hydra.sweep.dir}/.jobs/${now:%Y%m%d-%H%M%S-%f}'",
)
"""What train.yaml says to Hydra and a configuration that is not made of it does not."""


def main(arguments: list[str]) -> int:
    """Runs or sweeps; 0, or the error of the (first failed) run is raised."""
    directories, (flags, overrides) = _own(*_split(arguments))
    trust, overrides = words.trusted(overrides)
    check_choices(overrides)
    overrides, saved = _with_resume(overrides, flags)
    if trust and saved is None:
        raise ConfigError("trust=true is for resume=RUN_DIR: what you name yourself is not asked about")
    if trust or saved is None or directories:
        words.look_here()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come back here instead of being printed there
    sys.argv = ["marl", *flags, *overrides]
    DirectoriesBefore.existing = jobs.Jobs.records = None
    begun: list[Path] = []
    stopped: list[Exception] = []

    @hydra.main(version_base="1.3", config_path=str(conf_dir()), config_name="train")
    def job(config: DictConfig) -> dict[str, Any] | None:
        settings = HydraConfig.get()
        directory = Path(settings.runtime.output_dir)
        if settings.mode == RunMode.MULTIRUN:
            return _job(config, directory)
        begun.append(directory)
        try:
            if saved and not trust:
                resume.refuse_strangers(_plain(config), saved, f"resume={directory}")
            return _printed(_prepared(config, directory)(), directory)
        except Exception as error:
            _take_back(directory, f"{settings.job.name}.log")
            stopped.append(error)
            return None

    try:
        with own_first(directories), handled(jobs.stop, *SIGNALS):
            job()
    except KeyboardInterrupt:
        jobs.report_end()
        raise
    except Exception as error:
        jobs.report_end()  # a launcher that gives up says nothing of the jobs
        if begun or jobs.Jobs.records or isinstance(error, MarlError) or not isinstance(error, (ValueError, TypeError)):
            raise
        raise ConfigError(f"cannot read {' '.join(arguments)}: {' '.join(str(error).split())}") from None
    if stopped:
        raise stopped[0]
    return jobs.report_end()


def compose(overrides: list[str], command: str = "train") -> dict[str, Any]:
    """Composes the configuration of `marl COMMAND` with `overrides`, as plain values. For scripts and tests."""
    check_choices(overrides)
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return _plain(hydra_compose(command, overrides))


class DirectoriesBefore(Callback):
    """Remembers, before Hydra makes a run's directory, how much of its path was there."""

    existing: Path | None = None

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Answers Hydra's hook, for single runs only."""
        path = Path(config.hydra.run.dir).absolute()
        DirectoriesBefore.existing = next(part for part in (path, *path.parents) if part.exists())


def _job(config: DictConfig, directory: Path) -> dict[str, Any] | None:
    """Runs one job of a sweep. It raises nothing, so that the others go on; how it ended is noted for the end."""
    log = directory / f"{HydraConfig.get().job.name}.log"
    jobs.begin()
    jobs.share_cores()
    try:
        summary = jobs.alone(_prepared(config, directory), log)
    except (MarlError, OmegaConfBaseException) as error:
        _take_back(directory, log.name)
        refused = isinstance(error, (ConfigError, OmegaConfBaseException))
        status = "refused" if refused else "diverged" if isinstance(error, DivergedError) else "failed"
        jobs.note(status, sentence(error), 2 if refused else 1)
        return None
    except KeyboardInterrupt:
        jobs.note("interrupted", "the same command goes on with it", 130)
        raise
    jobs.note("finished")
    return _printed(summary, directory)


def _prepared(config: DictConfig, directory: Path) -> Callable[[], dict[str, Any]]:
    """Gathers what `marl.runs.train` takes. A run that goes on finds its files from where it was started first."""
    settings, request = HydraConfig.get(), _plain(config)
    start = (RunDirectory(directory).start() if request.get("resume") else None) or Path(settings.runtime.cwd)
    record = OmegaConf.create({"hydra": OmegaConf.to_container(settings)})
    record.hydra.runtime.cwd = str(start)
    provenance = {
        "hydra.yaml": OmegaConf.to_yaml(record),
        "overrides.yaml": OmegaConf.to_yaml(settings.overrides.task),
    }

    def run() -> dict[str, Any]:
        with started_in(start):
            return train(request, directory, provenance)

    return run


def _printed(summary: dict[str, Any], directory: Path) -> dict[str, Any]:
    evaluated, returned = summary.get("eval_average_reward"), summary.get("discounted_return")
    line = (
        f"average reward {mean(summary['average_reward']):.4f} (last 10 % of {summary['steps']} steps)"
        + (f", discounted return {mean(returned):.4f}" if returned else "")
        + (f", evaluated {mean(evaluated):.4f}" if evaluated else "")
        + f", {summary['env_steps_per_second']:.0f} steps/s, in {directory}"
    )
    with contextlib.suppress(OSError):  # whoever listened to a launcher's process is gone
        print(line)
    return summary


def _plain(config: DictConfig) -> dict[str, Any]:
    plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    plain.pop("experiment", None)
    return {str(key): value for key, value in plain.items()}


def _run_name(overrides: list[str], seed: int, config: str = "train") -> str:
    """Names a readable directory: a configuration of one's own, the overrides without the seed, then the seed."""
    kept = [text.lstrip("+") for text in overrides if text.lstrip("+").split("=")[0] not in ("seed", "force")]
    own = [] if config == "train" else [config]
    name = ",".join(own + kept).replace("/", "_").replace(" ", "") or "default"
    if len(content := os.fsencode(name)) > LONGEST_NAME:
        name = f"{content[:SHORTENED].decode(errors='ignore')}~{hashlib.sha256(content).hexdigest()[:12]}"
    return f"{name}/seed={seed}"


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Splits into (options with their values, overrides): Hydra reads overrides only where they stand together."""
    flags: list[str] = []
    overrides: list[str] = []
    for argument in arguments:
        if flags and flags[-1] in WITH_VALUE and argument.partition("=")[0] not in FLAGS:
            flags.append(argument)
        elif not argument.startswith("-"):
            overrides.append(argument)
        elif argument.partition("=")[0] in FLAGS:
            flags.append(argument)
        else:
            raise ConfigError(f"there is no option {argument!r}; marl train --help shows what there is")
    if flags and flags[-1] in WITH_VALUE and "info" not in flags[-1]:
        raise ConfigError(f"{flags[-1]} needs a value after it")
    for option, value in itertools.pairwise(flags):
        if option in ("-c", "--cfg") and value not in ("job", "hydra", "all"):
            raise ConfigError(f"{option} shows job, hydra or all, not {value!r}")
    return flags, overrides


def _own(flags: list[str], overrides: list[str]) -> tuple[list[str], tuple[list[str], list[str]]]:
    """Takes the directories of one's own yaml files out of the options, and adds NEEDED to a configuration of one's own."""
    directories, kept = own_directories(flags)
    named = any(flag.partition("=")[0] in NAMES for flag in kept)
    return directories, (kept, [*NEEDED, *overrides] if named else overrides)


def _with_resume(overrides: list[str], flags: list[str]) -> tuple[list[str], list[str] | None]:
    """Puts, for `resume=RUN_DIR`, the overrides of that run before these, in that directory.

    Returns (all overrides, those that were kept in the run, None without a run).
    """
    given = [text for text in overrides if text.startswith("resume=") and text != "resume=null"]
    if not given:
        return overrides, None
    if clash := [text for text in (*overrides, *flags) if text.startswith(CLASHES) or text in ("-m", "--multirun")]:
        raise ConfigError(f"{given[-1]} goes on with one run where it is and cannot be combined with {clash[0]}")
    directory = Path(given[-1].partition("=")[2].strip("'\""))
    kept = resume.saved_overrides(given[-1], directory)
    quoted = "'" + str(directory).replace("'", "\\'") + "'"  # a path may hold = and commas
    rest = [text for text in overrides if text not in given]
    return [*kept, *rest, f"resume={quoted}", f"hydra.run.dir={quoted}"], kept


def _take_back(directory: Path, log: str) -> None:
    """Removes what was made for a run that never started: at most a log, and the directories that were not there."""
    if not directory.is_dir() or not {path.name for path in directory.iterdir()} <= {log}:
        return
    for handler in list(logging.getLogger().handlers):  # a launcher may have more to log
        if getattr(handler, "baseFilename", None) == os.path.abspath(directory / log):
            logging.getLogger().removeHandler(handler)
            handler.close()
    (directory / log).unlink(missing_ok=True)
    stop = DirectoriesBefore.existing or Path(HydraConfig.get().runtime.cwd) / HydraConfig.get().sweep.dir
    for made in (directory, *directory.parents):
        if made == stop or any(made.iterdir()):
            return
        made.rmdir()


OmegaConf.register_new_resolver("run_name", _run_name, replace=True)  # on import, so that a launcher's processes have it
