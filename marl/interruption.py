"""Ctrl-C and SIGTERM, heard where a run is whole."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


ECHO = 1.0
"""Seconds after a signal in which another one says the same: a terminal and a parent process may both pass it on."""


class Request:
    """Whether someone has asked the run to stop."""

    def __init__(self) -> None:
        self.made = False
        self._when = 0.0

    def hear(self, number: int, frame: FrameType | None) -> None:
        """The signal handler: the first signal is remembered, a second one, later, stops the run where it is."""
        if self.made and time.monotonic() > self._when + ECHO:
            raise KeyboardInterrupt
        if not self.made:
            self.made, self._when = True, time.monotonic()


@contextlib.contextmanager
def heard() -> Iterator[Request]:
    """Inside, a signal is a request; it must be asked for."""
    request = Request()
    with handled(request.hear, *SIGNALS):
        yield request


@contextlib.contextmanager
def handled(handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    """Inside, `handler` hears these signals. Outside of the main thread signals stay as they are."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
