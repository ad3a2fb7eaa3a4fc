"""One TensorBoard event file holds curves, hyperparameters and a picture of the network."""

import contextlib
import functools
import logging
import re
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from marl.core.checks import boolean
from marl.core.environment import Environment
from marl.core.logger import Metrics
from marl.loggers.flatten import flatten
from marl.plotting import NoPictureError, network_picture

BANDED = ("train/average_reward",)
"""Tags that get their 10 % and 90 % quantile over replicas beside the mean."""

_BAND = np.array([0.1, 0.9])

MAX_PICTURE = 1000
"""Largest network that is drawn."""

PAUSE = 1.0
"""Seconds for which events may wait before they are handed to the thread that writes them."""

log = logging.getLogger(__name__)


class TensorBoardLogger:
    """Scalars are means over replicas; the x-axis is the environment step.

    per_agent: also one scalar per agent. picture: the network colored by the last per-agent reward, at the end.
    purge_step: on resume, events from this step on are dropped.
    references: name -> average reward of what a curve is to be seen beside; they are lines of one chart with it, on the
    page CUSTOM SCALARS.
    Where events cannot be written any more, a line says so and the run goes on without them.
    """

    def __init__(
        self,
        directory: Path,
        *,
        env: Environment,
        config: dict[str, Any],
        per_agent: bool = False,
        picture: bool = True,
        purge_step: int | None = None,
        references: Mapping[str, float] | None = None,
    ):
        self._env, self._directory, self._config, self._purge_step = env, directory, config, purge_step
        self._per_agent = boolean("logger.per_agent", per_agent)
        self._picture = boolean("logger.picture", picture)
        self._references = {f"reference/{name}": value for name, value in (references or {}).items()}
        self._last_step = 0
        self._agent_reward: np.ndarray | None = None
        self._waiting: list[tuple[int, Summary]] = []
        self._handed_over = -PAUSE
        self._lost = False

    @functools.cached_property
    def _writer(self) -> SummaryWriter:
        """Opens the file with the first number, so that a logger that is never used leaves none."""
        self._wait_for_a_later_name()
        threading.excepthook = _report_unless_writer
        writer = SummaryWriter(str(self._directory), purge_step=self._purge_step)
        for summary in hparams(_table(self._config), {BANDED[0]: 0.0}):
            writer._get_file_writer().add_summary(summary)
        if self._references:
            chart = [*BANDED, "eval/average_reward", *self._references]
            writer.add_custom_scalars(
                {"average reward": {"beside its references": ["Multiline", [*map(re.escape, chart)]]}}
            )
        return writer

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the file here, with what waits for it: a copy, in another process perhaps, opens one of its own."""
        kept = {name: value for name, value in vars(self).items() if name != "_writer"}
        return {**kept, "_waiting": [], "_purge_step": None, "_handed_over": -PAUSE}

    def log(self, step: int, metrics: Metrics) -> None:
        self._last_step = step
        scalars = dict(self._references)
        for tag, value in metrics.items():
            array = np.asarray(value)
            if array.ndim == 2:
                scalars |= self._of_agents(tag, array)
                continue
            scalars[tag] = array.item() if array.size == 1 else float(array.mean())
            if tag in BANDED:
                ranks = np.arange(array.size)  # (np.percentile is slower than a thousand compiled steps)
                low, high = np.interp(_BAND * ranks[-1], ranks, np.sort(array, axis=None)).tolist()
                scalars |= {f"{tag}_p10": low, f"{tag}_p90": high}
        event = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()])
        self._waiting.append((step, event))
        if time.monotonic() > self._handed_over + PAUSE:
            with self._outlived():
                self._hand_over()

    def flush(self) -> None:
        with self._outlived():
            self._hand_over()
            if not self._lost:
                self._writer.flush()

    def close(self) -> None:
        with self._outlived():
            self._hand_over()
            if not self._lost and self._picture and self._agent_reward is not None and self._env.n <= MAX_PICTURE:
                self._draw(self._agent_reward)
        with self._outlived():
            if not self._lost or "_writer" in vars(self):  # what is open is closed
                self._writer.close()

    @contextlib.contextmanager
    def _outlived(self) -> Iterator[None]:
        """Says once what keeps events from being written; metrics.npz has the same curves."""
        try:
            yield
        except OSError as error:
            if not self._lost:
                log.warning("no more events for TensorBoard, the run goes on without them: %s", error)
            self._lost = True

    def _hand_over(self) -> None:
        """Gives the waiting events to the thread that writes them, which costs more than making them when it is woken."""
        while self._waiting and not self._lost:
            step, event = self._waiting.pop(0)
            self._writer._get_file_writer().add_summary(event, step)
        self._waiting.clear()
        self._handed_over = time.monotonic()

    def _wait_for_a_later_name(self) -> None:
        """Waits, as event files are read in the order of their names, which begin with the second they were opened in."""
        seconds = [path.name.split(".")[3] for path in self._directory.glob("events.out.tfevents.*")]
        last = max((int(second) for second in seconds if second.isdecimal()), default=0)
        while last >= int(time.time()) > last - 2:  # but for a clock that was set back
            time.sleep(0.05)

    def _of_agents(self, tag: str, array: np.ndarray) -> dict[str, float]:
        self._agent_reward = array.mean(axis=0)
        named = enumerate(self._agent_reward) if self._per_agent else ()
        return {f"{tag}/{agent}": float(value) for agent, value in named}

    def _draw(self, agent_reward: np.ndarray) -> None:
        try:
            picture = network_picture(self._env, agent_reward, "reward per agent and step")
        except NoPictureError as error:
            log.info("network: %s", error)
            return
        self._writer.add_image("network/agent_reward", picture, self._last_step, dataformats="HWC")


def _table(config: dict[str, Any]) -> dict[str, Any]:
    """Turns a configuration into values that TensorBoard's hyperparameter table can hold."""
    flat = flatten(config).items()
    return {key: value if isinstance(value, (bool, int, float, str)) else str(value) for key, value in flat}


def _report_unless_writer(error: threading.ExceptHookArgs) -> None:
    """The thread that writes events hands its error to the next `log` or `flush`, which says it in one sentence."""
    if not type(error.thread).__module__.startswith("tensorboard."):
        threading.__excepthook__(error)
