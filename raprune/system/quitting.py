"""Who ends the process: a signal of the user's, or code of the user's that has no business to.

A network, a data set or a score that calls ``sys.exit`` (``argparse`` does, at the top of a script) would end a study
as if it were done. It is an error of that code, and named as one.
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
"""Those that ask a process to stop: Ctrl-C, a scheduler's, and that of a terminal that went away."""
PATIENCE_S = 10.0
"""A clean stop takes less."""
Handler = Callable[[int, FrameType | None], None]


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to stop; a KeyboardInterrupt of another type was raised by somebody's code."""


class Stop:
    """What the signals of a process came to; the first one asks it to stop, those that follow are the same wish."""

    def __init__(self) -> None:
        self._at: float | None = None

    @property
    def asked(self) -> bool:
        """Whether there was one."""
        return self._at is not None

    def note(self) -> bool:
        """Note a signal, and whether it is the first. One that comes long after it ends the process at once."""
        first, self._at = self._at is None, self._at or time.monotonic()
        if time.monotonic() - self._at > PATIENCE_S:
            os._exit(130)
        return first

    def forget(self) -> None:
        self._at = None


STOP = Stop()
"""Of this process."""


@contextlib.contextmanager
def quitting_is_a_fault() -> Iterator[None]:
    """SystemExit and KeyboardInterrupt that code raises inside become :class:`InputError`; signals pass."""
    try:
        yield
    except (SystemExit, KeyboardInterrupt) as error:
        if STOP.asked or isinstance(error, Interrupted):
            raise Interrupted from None
        raise fault_of(error) from error


def fault_of(error: BaseException) -> InputError:
    """The error of the code that raised SystemExit or KeyboardInterrupt, by its file and line."""
    said = f"{type(error).__name__}({', '.join(map(repr, error.args))})"
    return InputError(
        f"{_place(error)} raises {said}, which would end the whole process: a network, a data set, a score or another "
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
    """``handler`` for all of :data:`SIGNALS` that are not ignored. What is yielded, what was there before, returns."""
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
    """For the end of a process whose work is done: signals change nothing, and end it if it takes long."""
    ended = time.monotonic()

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        if time.monotonic() - ended > PATIENCE_S:
            os._exit(code)

    _take(handle)


def ignore_signals_at_last() -> None:
    """Called as the first thing, after all that the process does at its exit: Python itself then lets signals kill."""
    atexit.register(_take, signal.SIG_IGN)


def _take(handler: Any) -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)
