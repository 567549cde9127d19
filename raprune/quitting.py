"""Who ends the process: a signal of the user's, or code of the user's that has no business to.

A network, a data set or a score that calls ``sys.exit`` (``argparse`` does, at the top of a script) would end a study
as if it were done. It is an error of that code, and named as one.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sysconfig
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from raprune.errors import InputError

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Those that ask a process to stop: Ctrl-C, a scheduler's, and that of a terminal that went away."""
Handler = Callable[[int, FrameType | None], None]


class Interrupted(KeyboardInterrupt):
    """A signal asked the process to stop; a KeyboardInterrupt of another type was raised by somebody's code."""


@contextlib.contextmanager
def quitting_is_a_fault() -> Iterator[None]:
    """SystemExit and KeyboardInterrupt that code raises inside become :class:`InputError`; signals pass."""
    try:
        yield
    except Interrupted:
        raise
    except (SystemExit, KeyboardInterrupt) as error:
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
    roots = {paths[key] for key in ("stdlib", "platstdlib", "purelib", "platlib")} | {str(Path(__file__).parent)}
    return file.startswith("<frozen") or any(file.startswith(root + os.sep) for root in roots)


@contextlib.contextmanager
def signals_handled_by(handler: Handler) -> Iterator[None]:
    """``handler`` for all of :data:`SIGNALS` that are not ignored; afterwards, what was there before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    earlier = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number, before in earlier.items():
            if before is not signal.SIG_IGN:
                signal.signal(number, handler)
        yield
    finally:
        for number, before in earlier.items():
            if before is not None:
                signal.signal(number, before)
