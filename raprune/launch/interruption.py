"""Signals while a study runs: the first one stops it cleanly, wherever it is; what it has is on disk."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from raprune.system.quitting import SIGNALS, STOP, Interrupted, signals_handled_by


class Interruption:
    """Whether a signal asked the study to stop: Ctrl-C, SIGTERM, or SIGHUP of a terminal that went away.

    Signals that are ignored when the study begins (under ``nohup``, or SIGINT behind ``&`` in a script) stay ignored.
    Outside of the main thread the signals are not ours.
    """

    def __init__(self) -> None:
        self.happened = False
        self._raises = False

    @contextlib.contextmanager
    def guard(self) -> Iterator[Interruption]:
        """Signals are ours inside; they are noted, so that what must end as it began does."""
        STOP.forget()
        with signals_handled_by(self._handle):
            yield self

    @contextlib.contextmanager
    def stoppable(self) -> Iterator[None]:
        """Inside, a signal ends the block quietly."""
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
        """Inside, in a block that is stoppable, a signal is noted only; it ends the block afterwards."""
        before, self._raises = self._raises, False
        try:
            yield
        finally:
            self._raises = before

    def arm(self) -> None:
        """Take the signals again: ``ray.init`` takes SIGTERM."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    signal.signal(number, self._handle)

    def check(self) -> None:
        """Raise :class:`Interrupted` after a signal that was only noted."""
        if self.happened:
            raise Interrupted

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.happened = True
        if STOP.note() and self._raises:
            raise Interrupted
