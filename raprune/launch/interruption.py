"""Signals while a study runs: the first one stops it cleanly at any point; its results so far are on disk."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from raprune.system.quitting import SIGNALS, STOP, Interrupted, signals_handled_by


class Interruption:
    """Whether a signal asked the study to stop: Ctrl-C, SIGTERM, or SIGHUP from a closed terminal.

    Signals that are ignored when the study begins (under ``nohup``, or SIGINT behind ``&`` in a script) stay ignored.
    Outside the main thread signals are left alone.
    """

    def __init__(self) -> None:
        self.happened = False
        self._raises = False

    @contextlib.contextmanager
    def guard(self) -> Iterator[Interruption]:
        """Handle signals inside the block: record them, so that cleanup still runs."""
        STOP.forget()
        with signals_handled_by(self._handle):
            yield self

    @contextlib.contextmanager
    def stoppable(self) -> Iterator[None]:
        """Let a signal end the block quietly."""
        try:
            self._raises = True
            self.check()
            yield
        except KeyboardInterrupt:
            self.happened = True
        finally:
            self._raises = False

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Only record signals inside the block; the enclosing stoppable block ends afterwards."""
        before, self._raises = self._raises, False
        try:
            yield
        finally:
            self._raises = before

    def arm(self) -> None:
        """Handle signals again: ``ray.init`` installs its own handler for SIGTERM."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, self._handle)

    def check(self) -> None:
        """Raise :class:`Interrupted` if a signal was recorded."""
        if self.happened:
            raise Interrupted

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.happened = True
        if STOP.note() and self._raises:
            raise Interrupted
