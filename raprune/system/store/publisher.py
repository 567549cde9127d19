"""Sends what is complete in the background; a store that is away is tried again, and everything stays in the mirror."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from raprune.errors import RapruneError, StorageError
from raprune.system.store.mirror import Mirror
from raprune.system.store.remote import PAUSES_S, patience_s

LATER_S = 30.0
"""What grows all the time is sent so often."""
Tell = Callable[[str], object]


class Publisher:
    """The thread that sends, for one mirror in one process."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.tell: Tell = lambda _: None
        self.halted: str | None = None
        """Why nothing may be sent any more."""
        self._due: dict[str, float] = {}
        self._changed = threading.Condition()
        self._is_sending = False
        self._failures = 0
        self._error: RapruneError | None = None
        self._thread: threading.Thread | None = None

    def note(self, below: str, wait_s: float = 0.0) -> None:
        """Send what changed below a folder; ``wait_s``: within so many seconds."""
        with self._changed:
            at = time.monotonic() + wait_s
            self._due[below] = min(at, self._due.get(below, at))
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="raprune-store", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def deliver(self) -> None:
        """Wait until all has arrived. Raises :class:`StorageError` once patience ends."""
        began = time.monotonic()
        with self._changed:
            for below in self._due:
                self._due[below] = 0.0
            self._changed.notify_all()
            while (self._due or self._is_sending) and self.halted is None:
                self._changed.wait(0.2)
                error = self._error
                if error is not None and time.monotonic() - began > patience_s(error):
                    raise StorageError(
                        f"{error}. Nothing is lost: everything is in {self.mirror.root}, and the same command on this "
                        "machine sends it"
                    )

    def _run(self) -> None:
        while self.halted is None:
            below = self._next()
            if self.halted is not None:
                return
            try:
                self.mirror.send(below)
            except Exception as error:  # whoever waits must hear of it
                named = error if isinstance(error, RapruneError) else StorageError(f"{self.mirror.address}: {error}")
                self._failed(below, named)
            else:
                self._succeeded()

    def _next(self) -> str:
        """Wait for what is due first, and begin to send it."""
        with self._changed:
            while not self._due or min(self._due.values()) > time.monotonic():
                self._changed.wait(min(self._due.values()) - time.monotonic() if self._due else None)
            below = next(name for name, at in self._due.items() if at <= time.monotonic())
            del self._due[below]
            self._is_sending = True
            return below

    def _failed(self, below: str, error: RapruneError) -> None:
        pause_s = PAUSES_S[min(self._failures, len(PAUSES_S) - 1)]
        with self._changed:
            self._due = {below: self._due.pop(below, 0.0), **self._due}  # first again: the order of sending stays
            self._is_sending, self._error = False, error
        self._failures += 1
        if self._failures == 1:
            self.tell(f"{error}: trying again; the study goes on, its files are kept in {self.mirror.root}")
        time.sleep(pause_s)

    def _succeeded(self) -> None:
        with self._changed:
            self._is_sending, self._error = False, None
            self._changed.notify_all()
        if self._failures:
            self.tell(f"{self.mirror.address}: sending again")
            self.tell("")
        self._failures = 0
