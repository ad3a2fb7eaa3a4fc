"""The clock says when a run writes its next checkpoint, unless the user says it in steps."""

import contextlib
import time
from collections.abc import Iterator

LONGEST = 60.0
"""Seconds of a run that are lost, or little more, when it is killed."""
SHARE = 0.05
"""The most of a run's time that writing checkpoints takes, those at the end and on signals aside."""


class Pace:
    """The next checkpoint is due a minute after the last one, or later, where writing one takes over 3 seconds."""

    def __init__(self) -> None:
        self._due = time.monotonic() + LONGEST

    @property
    def due(self) -> bool:
        return time.monotonic() >= self._due

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Looks at the clock while a checkpoint is written."""
        began = time.monotonic()
        yield
        now = time.monotonic()
        self._due = now + max(LONGEST, (now - began) * (1.0 / SHARE - 1.0))
