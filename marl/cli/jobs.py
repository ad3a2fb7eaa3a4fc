"""The jobs of a sweep run in processes of their own, each with a line on how it ended, whatever launcher started it."""

import contextlib
import ctypes
import importlib
import json
import multiprocessing
import os
import platform
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig

from marl.core.errors import MarlError, RunFailedError
from marl.core.files import write_atomically
from marl.runs.interruption import handled

PR_SET_PDEATHSIG = 1
LOST = "its process ended without a word"
PATIENCE = 20.0
"""Seconds that the jobs of a sweep have to write a checkpoint when it is told to stop."""


class Jobs(Callback):
    """Remembers where this sweep, which is one of its own even beside others in its directory, notes how its jobs end."""

    records: Path | None = None

    def __init__(self, records: str):
        self._records = records

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Answers Hydra's hook, for sweeps only."""
        Jobs.records = Path(self._records).absolute()


def begin(process: int | None = None) -> None:
    """Notes that the present job has begun, so that a job whose process is lost is counted, too.

    process: where it runs, if it has to be told to stop.
    """
    note("failed", LOST, 1, process)


def note(status: str, reason: str = "", code: int = 0, process: int | None = None) -> None:
    """Notes how the present job of the sweep ended, or the process that it runs in."""
    settings = HydraConfig.get()
    records = Path(settings.runtime.cwd) / settings.callbacks["jobs"]["records"]  # a job may stand elsewhere
    records.mkdir(parents=True, exist_ok=True)
    name, here = " ".join(settings.overrides.task), [platform.node(), process]
    text = json.dumps({"name": name, "status": status, "reason": reason, "code": code, "process": here})
    write_atomically(records / f"{int(settings.job.num):06d}.json", lambda file: file.write(text.encode()))


def _noted() -> list[dict[str, Any]]:
    found = [] if Jobs.records is None else sorted(Jobs.records.glob("*.json"))
    return [json.loads(path.read_text(encoding="utf-8")) for path in found]


def stop(number: int, frame: FrameType | None) -> None:
    """Handles the signals of `marl train`: jobs in processes of their own on this machine leave a checkpoint first."""
    here = [job["process"][1] for job in _noted() if job["process"][0] == platform.node() and job["process"][1]]
    alive = [process for process in here if _sent(process, signal.SIGTERM)]
    until = time.monotonic() + PATIENCE
    while alive and time.monotonic() < until:
        time.sleep(0.05)
        alive = [process for process in alive if _sent(process, 0)]
    raise KeyboardInterrupt


def _sent(process: int, number: int) -> bool:
    """Says whether the process could be sent a signal: whether it is there."""
    try:
        os.kill(process, number)
    except OSError:
        return False
    return True


def report_end() -> int:
    """Prints how the sweep went and returns the exit code: that of the first job that failed, else 0."""
    jobs = _noted()
    if Jobs.records is None or not jobs:
        return 0
    shutil.rmtree(Jobs.records, ignore_errors=True)
    with contextlib.suppress(OSError):  # another sweep may be at work beside this one
        Jobs.records.parent.rmdir()
    failed = [job for job in jobs if job["code"]]
    print(f"{len(jobs)} jobs: {len(jobs) - len(failed)} finished, {len(failed)} not", file=sys.stderr)
    for job in failed:
        print(f"marl: {job['name']}: {job['status']}: {job['reason']}", file=sys.stderr)
    return int(failed[0]["code"]) if failed else 0


def share_cores() -> None:
    """Leaves compiled replicas the cores that jobs at the same time leave: all of them unless a launcher says otherwise."""
    launcher, allowed = HydraConfig.get().launcher, os.environ.get("SLURM_CPUS_PER_TASK")
    cores = int(allowed) if allowed else len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    at_a_time = launcher.get("n_jobs") or 1
    share = os.environ.get("OMP_NUM_THREADS") or max(1, cores // (cores if at_a_time < 0 else at_a_time))
    os.environ.setdefault("NUMBA_NUM_THREADS", str(share))


def alone(work: Callable[[], dict[str, Any]], log: Path) -> dict[str, Any]:
    """Returns what `work` returns, done in a process of its own, so that one that is killed takes no other along.

    Errors: those of `work`; `RunFailedError` if its process is killed, or for an error nobody expected, whose traceback
    stands in `log`.
    """
    if sys.platform != "linux":
        return _logged(work, log)
    for slow in ("marl.kernels.actor_critic", "torch._dynamo"):  # once here; the latter comes with torch's optimizers
        importlib.import_module(slow)
    fork = multiprocessing.get_context("fork")
    receive, send = fork.Pipe(duplex=False)
    child = fork.Process(target=_work, args=(work, log, send, os.getpid()))
    with handled(lambda number, frame: child.terminate(), signal.SIGTERM):  # the child ends at a checkpoint and says so
        child.start()
        send.close()
        try:
            if HydraConfig.get().runtime.choices.get("hydra/launcher", "basic") != "basic":  # there this process tells it
                begin(child.pid)
            kind, value = receive.recv()
        except EOFError:
            child.join()
            code = child.exitcode or 0
            how = f"signal {-code}" if code < 0 else f"exit code {code}"
            raise RunFailedError(
                f"the process of the run was killed ({how}); a checkpoint that it wrote before is whole"
            ) from None
        except BaseException:  # a launcher's handler of signals may raise what it likes
            child.terminate()
            raise
        finally:
            child.join()
    if kind == "interrupted":
        raise KeyboardInterrupt
    if kind == "error":
        raise value
    return dict(value)


def _work(work: Callable[[], dict[str, Any]], log: Path, send: Connection, parent: int) -> None:
    """Sends, in the child, what `work` returns or raises."""
    os.setpgrp()  # a Ctrl-C is the parent's to hear, which passes it on once
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)  # a parent that is killed takes its child along
    if os.getppid() != parent:
        return
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
        with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:
            file.write(traceback.format_exc())
        gist = str(error).partition("\n")[0]
        raise RunFailedError(f"{type(error).__name__}: {gist} (the traceback is in {log})") from None
