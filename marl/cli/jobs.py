"""The jobs of a sweep: each in a process of its own, each with a line on how it ended, whatever launcher started it."""

import contextlib
import importlib
import json
import multiprocessing
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from marl.core.errors import MarlError, RunFailedError
from marl.core.files import write_atomically
from marl.interruption import handled

RECORDS = ".jobs"
LAUNCHERS_IN_ONE_PROCESS = ("basic", "joblib")
"""Launchers whose jobs share a process, so that one that is killed would take others along."""


class Jobs(Callback):
    """Remembers where the sweep is, and clears what an earlier one noted there."""

    records: Path | None = None

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra's hook, sweeps only."""
        Jobs.records = _records(config.hydra)
        shutil.rmtree(Jobs.records, ignore_errors=True)


def _records(settings: Any) -> Path:
    return Path(settings.sweep.dir).absolute() / RECORDS


def note(directory: Path, status: str, reason: str = "", code: int = 0) -> None:
    """Notes how the present job of the sweep ended."""
    settings = HydraConfig.get()
    records = _records(settings)
    records.mkdir(parents=True, exist_ok=True)
    held = {"name": " ".join(settings.overrides.task), "directory": str(directory), "status": status}
    text = json.dumps({**held, "reason": reason, "code": code})
    write_atomically(records / f"{int(settings.job.num):06d}.json", lambda file: file.write(text.encode()))


def told() -> int:
    """Says how the sweep went and returns the exit code: that of the first job that failed, else 0."""
    if Jobs.records is None or not Jobs.records.is_dir():
        return 0
    jobs = [json.loads(path.read_text()) for path in sorted(Jobs.records.glob("*.json"))]
    shutil.rmtree(Jobs.records, ignore_errors=True)
    failed = [job for job in jobs if job["code"]]
    print(f"{len(jobs)} jobs: {len(jobs) - len(failed)} finished, {len(failed)} not", file=sys.stderr)
    for job in failed:
        print(f"marl: {job['name']}: {job['status']}: {job['reason']}", file=sys.stderr)
    return int(failed[0]["code"]) if failed else 0


def share_cores() -> None:
    """Leaves compiled replicas the cores that jobs at the same time leave: all of them unless a launcher says otherwise."""
    launcher, cores = HydraConfig.get().launcher, os.cpu_count() or 1
    at_a_time = launcher.get("n_jobs") or 1
    share = os.environ.get("OMP_NUM_THREADS") or max(1, cores // (cores if at_a_time < 0 else at_a_time))
    os.environ.setdefault("NUMBA_NUM_THREADS", str(share))


def alone(work: Callable[[], dict[str, Any]], log: Path) -> dict[str, Any]:
    """What `work` returns, done in a process of its own where the launcher gives it none.

    Errors: those of `work`; `RunFailedError` if its process is killed, or for an error nobody expected, whose traceback
    stands in `log`.
    """
    launcher = HydraConfig.get().runtime.choices.get("hydra/launcher", "basic")
    if launcher not in LAUNCHERS_IN_ONE_PROCESS or sys.platform != "linux":
        return _logged(work, log)
    importlib.import_module("marl.kernels.actor_critic")  # once here, instead of in every child
    fork = multiprocessing.get_context("fork")
    receive, send = fork.Pipe(duplex=False)
    child = fork.Process(target=_work, args=(work, log, send))
    with handled(lambda number, frame: child.terminate(), signal.SIGTERM):  # the child ends at a checkpoint and says so
        child.start()
        send.close()
        try:
            kind, value = receive.recv()
        except EOFError:
            child.join()
            code = child.exitcode or 0
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise RunFailedError(f"the process of the run was killed ({how}); its last checkpoint is whole") from None
        except KeyboardInterrupt:
            child.terminate()
            raise
        finally:
            child.join()
    if kind == "interrupted":
        raise KeyboardInterrupt
    if kind == "error":
        raise value
    return dict(value)


def _work(work: Callable[[], dict[str, Any]], log: Path, send: Connection) -> None:
    """In the child: sends what `work` returns or raises."""
    os.setpgrp()  # a Ctrl-C is the parent's to hear, which passes it on once
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        send.send(("done", _logged(work, log)))
    except KeyboardInterrupt:
        send.send(("interrupted", None))
    except Exception as error:
        send.send(("error", error))


def _logged(work: Callable[[], dict[str, Any]], log: Path) -> dict[str, Any]:
    try:
        return work()
    except MarlError:
        raise
    except Exception as error:
        with contextlib.suppress(OSError), log.open("a") as file:
            file.write(traceback.format_exc())
        gist = str(error).partition("\n")[0]
        raise RunFailedError(f"{type(error).__name__}: {gist} (the traceback is in {log})") from None
