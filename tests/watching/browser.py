"""A real browser, without a window, driven by its own protocol: JSON messages over two pipes, each ended by NUL."""

import contextlib
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--remote-debugging-pipe", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
    "--disable-background-networking", "--disable-extensions", "--disable-dev-shm-usage", "--window-size=1400,900",
)  # fmt: skip


class Page:
    """The page in the browser. `events` holds what it reported: requests, errors, dialogs."""

    def __init__(self, read: int, write: int):
        self._read, self._write, self._sent, self._rest, self._session = read, write, 0, b"", ""
        self.events: list[dict[str, Any]] = []
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Sends a command and waits for its answer."""
        self._sent += 1
        message = {"id": self._sent, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._sent:
                assert "error" not in answer, (method, answer)
                return answer["result"]  # type: ignore[no-any-return]
            self.events.append(answer)
            if answer.get("method") == "Page.javascriptDialogOpening":
                raise AssertionError(f"the page opened a dialog: {answer}")

    def evaluate(self, expression: str) -> Any:
        """Gives the value of an expression in the page, what a promise comes to if it is one."""
        answer = self.do("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, path: Path) -> None:
        """Opens a file and waits until the page says that it is ready."""
        self.events.clear()
        self.do("Page.navigate", url=path.as_uri())
        self.until("document.body !== null && document.body.dataset.ready === 'true'")

    def until(self, condition: str) -> None:
        """Waits until an expression is true in the page."""
        for _ in range(600):
            if self.evaluate(condition):
                return
            self.evaluate("new Promise(resolve => setTimeout(resolve, 50))")
        raise AssertionError(f"{condition} is never true", self.complaints())

    def mouse(self, kind: str, x: float, y: float) -> None:
        """Moves the mouse there, or presses and releases its button there."""
        for event in ("mouseMoved",) if kind == "move" else ("mouseMoved", "mousePressed", "mouseReleased"):
            button = "none" if event == "mouseMoved" else "left"
            self.do("Input.dispatchMouseEvent", type=event, x=x, y=y, button=button, clickCount=1)

    def complaints(self) -> list[Any]:
        """Lists errors, refusals by the page's policy among them, and whatever it asked for beside its own file."""
        self.evaluate("new Promise(resolve => setTimeout(resolve, 50))")
        found: list[Any] = []
        for event in self.events:
            method, parameters = event.get("method", ""), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                found.append(parameters)
            elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
                found.append(parameters["entry"]["text"])
            elif (
                method == "Network.requestWillBeSent"
                and parameters["type"] != "Document"
                and (not parameters["request"]["url"].startswith("data:"))
            ):
                found.append(parameters["request"]["url"])
        return found

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            read = os.read(self._read, 2**16)
            assert read, "the browser is gone"
            self._rest += read
        message, self._rest = self._rest.split(b"\0", 1)
        return json.loads(message)  # type: ignore[no-any-return]


@contextlib.contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Starts the browser, or skips the test where there is none at all."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("there is no browser")
    ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for pipe in (os.pipe(), os.pipe()) for end in pipe]
    theirs_in, ours_out, ours_in, theirs_out = ends

    def place() -> None:
        os.dup2(theirs_in, 3)
        os.dup2(theirs_out, 4)

    process = subprocess.Popen(
        [program, *FLAGS, f"--user-data-dir={profile}"],
        preexec_fn=place,  # where the protocol wants them
        pass_fds=(3, 4),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Page(ours_in, ours_out)
    finally:
        process.kill()
        process.wait()
        os.close(ours_in)
        os.close(ours_out)
