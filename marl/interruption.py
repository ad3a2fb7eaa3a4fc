"""Ctrl-C and SIGTERM, heard where a run is whole."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Request:
    """Whether someone has asked the run to stop."""

    def __init__(self) -> None:
        self.made = False

    def hear(self, number: int, frame: FrameType | None) -> None:
        """The signal handler: the first signal is remembered, the second stops the run where it is."""
        if self.made:
            raise KeyboardInterrupt
        self.made = True


@contextlib.contextmanager
def heard() -> Iterator[Request]:
    """Inside, a signal is a request; it must be asked for. Outside of the main thread signals stay as they are."""
    request = Request()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    before = {number: signal.signal(number, request.hear) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
