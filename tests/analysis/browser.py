"""A headless Chromium, driven through a pipe by its DevTools protocol: what a reader sees of a report's page."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.waiting import PATIENCE_S, until

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
_PIPED = """
import os, sys
for number, end in enumerate(sys.argv[1:3]):
    os.dup2(int(end), 13 + number)
for number in (3, 4):
    os.dup2(10 + number, number)
os.execvp(sys.argv[3], sys.argv[3:])
"""
"""Hands the pipe over as the descriptors 3 and 4, which the browser reads and writes."""


class Browser:
    """One page; ``complaints`` collects what its console and its policy say, ``requests`` the addresses it asks for."""

    def __init__(self, process: subprocess.Popen[bytes], read: int, write: int) -> None:
        self._process, self._read, self._write = process, read, write
        self._number, self._buffer, self._session = 0, b"", ""
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._loaded: set[str] = set()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; its result."""
        self._number += 1
        number = self._number
        message = {"id": number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self._note(answer)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        found: dict[str, Any] = answer["result"]
        return found

    def _next(self) -> dict[str, Any]:
        end = time.monotonic() + PATIENCE_S
        while b"\0" not in self._buffer:
            if not select.select([self._read], [], [], max(0.0, end - time.monotonic()))[0]:
                raise TimeoutError("the browser does not answer")
            if not (part := os.read(self._read, 1 << 20)):
                raise RuntimeError("the browser has ended")
            self._buffer += part
        message, _, self._buffer = self._buffer.partition(b"\0")
        parsed: dict[str, Any] = json.loads(message)
        return parsed

    def _note(self, event: dict[str, Any]) -> None:
        said = event.get("params", {})
        if event["method"] == "Runtime.consoleAPICalled" and said["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(said["args"]))
        elif event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(str(said["exceptionDetails"]))
        elif event["method"] == "Log.entryAdded" and said["entry"]["level"] != "verbose":
            self.complaints.append(str(said["entry"]))
        elif event["method"] == "Page.lifecycleEvent" and said["name"] == "load":
            self._loaded.add(said["loaderId"])
        elif event["method"] == "Network.requestWillBeSent":
            self.requests += [url for url in [said["request"]["url"]] if not url.startswith("data:")]

    def open(self, page: Path, width: int = 1200, dark: bool = False, fragment: str = "", scale: float = 1) -> None:
        """Show a page's file in a window of so many pixels and wait until its script has run."""
        self.size(width, scale)
        theme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[theme])
        self.load("about:blank")
        self.load(page.resolve().as_uri() + fragment)
        self.until("document.documentElement.classList.contains('ready')")

    def load(self, url: str) -> None:
        """Go to another address and wait until all of it is there."""
        loader = self.call("Page.navigate", url=url)["loaderId"]
        while loader not in self._loaded:
            self._note(self._next())

    def size(self, width: int, scale: float = 1, height: int = 900) -> None:
        """Give the window so many pixels and wait until the page has them, too."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": scale, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        self.until(f"innerWidth === {width}")

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in found:
            raise RuntimeError(f"{script}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Wait until an expression is true."""
        until(lambda: self.run(script), what=f"{script}; {self.complaints}:")

    def mouse(self, kind: str, x: float, y: float) -> None:
        """``move`` to a place of the window, or ``click`` there."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        if kind == "click":
            for what in ("mousePressed", "mouseReleased"):
                self.call("Input.dispatchMouseEvent", type=what, x=x, y=y, button="left", clickCount=1)

    def key(self, name: str) -> None:
        codes = {"Escape": 27, "Enter": 13, "Tab": 9, "ArrowRight": 39, "ArrowLeft": 37}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=codes[name])

    def screenshot(self, file: Path, whole: bool = True) -> None:
        png = self.call("Page.captureScreenshot", captureBeyondViewport=whole, format="png")["data"]
        file.write_bytes(base64.b64decode(png))

    def pdf(self) -> bytes:
        """The page on paper, as its own style says."""
        return base64.b64decode(self.call("Page.printToPDF", preferCSSPageSize=True, printBackground=True)["data"])


@contextmanager
def browser(folder: Path) -> Iterator[Browser]:
    """A browser with an empty profile in ``folder``."""
    assert CHROMIUM is not None
    theirs_in, ours_out = os.pipe()
    ours_in, theirs_out = os.pipe()
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    options += ["--disable-background-networking", "--disable-extensions", "--hide-scrollbars"]
    command = [CHROMIUM, *options, "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
    process = subprocess.Popen(
        [sys.executable, "-c", _PIPED, str(theirs_in), str(theirs_out), *command],
        pass_fds=(theirs_in, theirs_out), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    os.close(theirs_in)
    os.close(theirs_out)
    try:
        yield Browser(process, ours_in, ours_out)
    finally:
        for end in (ours_in, ours_out):
            os.close(end)  # the browser ends with its pipe
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
