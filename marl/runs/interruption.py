"""Ctrl-C and SIGTERM are postponed to where a run is whole."""

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
    """A request says whether someone has asked the run to stop."""

    def __init__(self) -> None:
        self.made = False
        self._when = 0.0

    def remember(self, number: int, frame: FrameType | None) -> None:
        """Handles a signal: the first is remembered, a second one, later, stops the run where it is."""
        if self.made and time.monotonic() > self._when + ECHO:
            raise KeyboardInterrupt
        if not self.made:
            self.made, self._when = True, time.monotonic()


@contextlib.contextmanager
def postponed() -> Iterator[Request]:
    """Makes a signal inside a request, which whoever opened it has to look at."""
    request = Request()
    with handled(request.remember, *SIGNALS):
        yield request


@contextlib.contextmanager
def handled(handler: Callable[[int, FrameType | None], None], *numbers: signal.Signals) -> Iterator[None]:
    """Gives these signals to `handler` inside. Outside of the main thread signals stay as they are."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
