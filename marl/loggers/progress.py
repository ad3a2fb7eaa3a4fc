"""Progress is shown to the person who waits: a bar on a terminal, a plain line now and then otherwise."""

import contextlib
import sys
from typing import Any

import numpy as np
from tqdm import tqdm

from marl.core.logger import Metrics

LINES = 10

GONE = OSError, ValueError
"""What a broken or closed stream raises: whoever listened is gone, which is no reason to lose a run."""


class ProgressLogger:
    """Shows the step, the average reward, the rate and the time left on standard error."""

    def __init__(self, steps: int, start: int = 0):
        self._steps = steps
        self._shown = start
        self._bar: tqdm[Any] | None = None
        with contextlib.suppress(*GONE):
            if sys.stderr is not None and sys.stderr.isatty():
                self._bar = tqdm(total=steps, initial=start, unit="step", leave=False)

    def log(self, step: int, metrics: Metrics) -> None:
        with contextlib.suppress(*GONE):
            self._show(step, metrics)

    def _show(self, step: int, metrics: Metrics) -> None:
        reward = float(np.mean(metrics["train/average_reward"]))
        if self._bar is not None:
            self._bar.set_postfix_str(f"average reward {reward:.4f}", refresh=False)
            self._bar.update(step - self._bar.n)
        elif sys.stderr is not None and step - self._shown >= self._steps / LINES:
            self._shown = step
            rate = float(np.mean(metrics["perf/env_steps_per_second"]))
            left = (self._steps - step) / rate
            line = f"step {step}/{self._steps}  average reward {reward:.4f}  {rate:.0f} steps/s  {left:.0f} s left"
            print(line, file=sys.stderr, flush=True)

    def __getstate__(self) -> dict[str, Any]:
        """Leaves the bar here: a copy, in another process perhaps, shows lines."""
        return {**vars(self), "_bar": None}

    def flush(self) -> None:
        """Does nothing: what is shown is shown."""

    def close(self) -> None:
        with contextlib.suppress(*GONE):
            if self._bar is not None:
                self._bar.close()
