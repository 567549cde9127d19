"""What ends the process: a signal from the user, or user code that has no business ending it.

A network, a data set or a score that calls ``sys.exit`` (``argparse`` does, at the top of a script) would end a study
as if it were complete. That is an error in the user's code and is reported as one.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sysconfig
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from raprune.errors import InputError
from raprune.system.paths import PACKAGE

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a process to stop: from Ctrl-C, from a scheduler, and from a terminal that was closed."""
PATIENCE_S = 10.0
"""Seconds; a clean stop takes less."""
Handler = Callable[[int, FrameType | None], None]


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to stop; any other KeyboardInterrupt was raised by user code."""


class Stop:
    """Whether signals have asked the process to stop; after the first, further ones repeat the request."""

    def __init__(self) -> None:
        self._at: float | None = None

    @property
    def asked(self) -> bool:
        """Whether a signal has come."""
        return self._at is not None

    def note(self) -> bool:
        """Note a signal; returns whether it is the first. One that comes long after that ends the process at once."""
        first, self._at = self._at is None, self._at or time.monotonic()
        if time.monotonic() - self._at > PATIENCE_S:
            os._exit(130)
        return first

    def forget(self) -> None:
        self._at = None


STOP = Stop()
"""This process's."""


@contextlib.contextmanager
def quitting_is_a_fault() -> Iterator[None]:
    """Turn SystemExit and KeyboardInterrupt that code inside raises into :class:`InputError`; signals pass."""
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as error:
        if STOP.asked or isinstance(error, Interrupted):
            raise Interrupted from None
        raise fault_of(error) from error


def fault_of(error: BaseException) -> InputError:
    """The error that names the file and line of the code that raised SystemExit or KeyboardInterrupt."""
    call = f"{type(error).__name__}({', '.join(map(repr, error.args))})"
    return InputError(
        f"{_place(error)} raises {call}, which would end the whole process: a network, a data set, a score or another "
        "part of a study must return, or raise an error that says what is wrong"
    )


def _place(error: BaseException) -> str:
    """Where the exception comes from: the innermost frame that is neither Python's, a package's nor ours."""
    frames = traceback.extract_tb(error.__traceback__)
    foreign = [frame for frame in frames if not _is_installed(frame.filename)]
    chosen = (foreign or frames)[-1:]
    return "".join(f"{frame.filename}:{frame.lineno} (in {frame.name})" for frame in chosen) or "code of the study"


def _is_installed(file: str) -> bool:
    paths = sysconfig.get_paths()
    roots = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")} | {str(PACKAGE)}
    return file.startswith("<frozen") or any(file.startswith(root + os.sep) for root in roots)


@contextlib.contextmanager
def signals_handled_by(handler: Handler) -> Iterator[dict[Any, Any]]:
    """Let ``handler`` handle :data:`SIGNALS`, but no ignored ones. Yields the earlier handlers and restores them."""
    before: dict[Any, Any] = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number, earlier in before.items():
            if earlier is not signal.SIG_IGN:
                signal.signal(number, handler)
        yield before
    finally:
        for number, earlier in before.items():
            if earlier is not None:
                signal.signal(number, earlier)


def signals_end_with(code: int) -> None:
    """For a process whose work is done: ignore signals, but exit with ``code`` at one that comes after the patience."""
    ended = time.monotonic()

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        if time.monotonic() - ended > PATIENCE_S:
            os._exit(code)

    _take(handle)


def ignore_signals_at_last() -> None:
    """Ignore signals once all else at exit has run; call this first. Python would then let them kill the process."""
    atexit.register(_take, signal.SIG_IGN)


def _take(handler: Any) -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
