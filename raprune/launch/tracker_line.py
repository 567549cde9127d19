"""One tracker of a study: its thread, and what waits for it. What it raises is told once and never ends anything."""

from __future__ import annotations

import os
import queue
import re
import threading
from collections.abc import Callable

from raprune.errors import first_line
from raprune.plugins.trackers.base import Tracker

CLOSE_S = 30.0
"""Seconds at the end of a study in which its trackers may send what still waits."""
STUDY = ""
"""What opens the study, beside the ids of trials."""
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
Send = Callable[[Tracker], None]


class Line:
    """The thread of one tracker. A study or trial that it could not open is opened before the next news of it."""

    def __init__(self, name: str, make: Callable[[], Tracker], tell: Callable[[str], None]) -> None:
        """``make`` is called in the thread, too: what a tracker's constructor raises ends nothing either."""
        self.name, self._make, self._tell = name, make, tell
        self._tracker: Tracker | None = None
        self._waiting: queue.SimpleQueue[tuple[str, Send] | None] = queue.SimpleQueue()
        self._unopened: dict[str, Send] = {}
        """What the tracker has not taken yet of what opens the study, and of what opens a trial, by its id."""
        self._told = False
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"tracker-{name}")
        self._thread.start()
        self.open(STUDY, lambda tracker: tracker.begin())

    def open(self, what: str, send: Send) -> None:
        """The study or a trial begins."""
        self._unopened[what] = send
        self.put(what, lambda _: None)

    def put(self, what: str, send: Send) -> None:
        """Something happened to the study or to a trial."""
        self._waiting.put((what, send))

    def close(self, send: Send) -> None:
        """The study ended; nothing follows."""
        self.put(STUDY, send)
        self._waiting.put(None)

    def join(self, wait_s: float) -> None:
        self._thread.join(max(0.0, wait_s))
        if self._thread.is_alive():
            self._complain(f"did not take everything within {CLOSE_S:.0f} s of the study's end")

    def _run(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            try:
                self._deliver(*waiting)
            except (Exception, SystemExit) as error:  # whatever it is, the study goes on
                self._complain(f"cannot be written: {type(error).__name__}: {without_secrets(first_line(error))}")

    def _deliver(self, what: str, send: Send) -> None:
        if self._tracker is None:
            self._tracker = self._make()
        for opened in dict.fromkeys((STUDY, what)):
            if opened in self._unopened:
                self._unopened[opened](self._tracker)
                del self._unopened[opened]
        send(self._tracker)

    def _complain(self, what: str) -> None:
        if not self._told:
            self._told = True
            self._tell(f"tracker {self.name} {what}; the study goes on, and this is not told again")


def without_secrets(text: str) -> str:
    """``text`` without the values of environment variables that look secret, and without passwords in addresses."""
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= 4:
            text = text.replace(value, "***")
    text = re.sub(r"([?&][^=&\s]*(?:passw|pwd|secret|token)[^=&\s]*=)[^&\s]+", r"\1***", text, flags=re.IGNORECASE)
    return re.sub(r"(://)[^/@\s]+@", r"\1***@", text)
