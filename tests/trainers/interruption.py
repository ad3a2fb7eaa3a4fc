"""Ctrl-C, as a user presses it."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator

import pytest


@contextlib.contextmanager
def control_c() -> Iterator[None]:
    """What is inside must end by Ctrl-C, which comes after 0.3 s, and again every 5 s until it is heard.

    Python loses one that lands in the callback of a weak reference. A process in the background ignores it by default.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    heard = threading.Event()

    def press() -> None:
        seconds = 0.3
        while not heard.wait(seconds):
            os.kill(os.getpid(), signal.SIGINT)
            seconds = 5.0

    threading.Thread(target=press, daemon=True).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            yield
    finally:
        heard.set()
        signal.signal(signal.SIGINT, before)
