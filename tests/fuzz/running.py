"""The command line in this process, with a time limit, and what its answer must be."""

from __future__ import annotations

import contextlib
import io
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType

from raprune import cli
from tests.waiting import PATIENCE_S

LIMIT_S = int(PATIENCE_S)
"""A command that takes longer hangs."""


class TooLong(BaseException):
    """No ``except Exception`` may swallow it."""


@dataclass(frozen=True)
class Answer:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """Everything that was printed."""
        return self.out + self.err

    def fault(self, *names: str) -> str | None:
        """What is wrong with the answer; ``None`` where it is one that a person can use.

        A refusal must name one of ``names``, which stand for the file that is to blame.
        """
        if self.code not in (0, 1, 2):
            return f"exit code {self.code}"
        for forbidden in ("Traceback (most recent call last)", "this is a bug in raprune", "Exception in thread"):
            if forbidden in self.text:
                return forbidden
        if "\x1b" in self.text or "\0" in self.text:
            return "control characters on the terminal"
        if self.code == 2 and names and not any(name in self.text for name in names):
            return "does not name the file"
        return None


def call(*arguments: object) -> Answer:
    """Run ``raprune`` with ``arguments``."""
    out, err = io.StringIO(), io.StringIO()
    argv, sys.argv = sys.argv, ["raprune", *map(str, arguments)]
    code = 0
    try:
        with _limit(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main()
    except SystemExit as stop:
        code = stop.code if isinstance(stop.code, int) else 0
    except TooLong:
        code = -1
    finally:
        sys.argv = argv
    return Answer(code, out.getvalue(), err.getvalue())


@contextlib.contextmanager
def _limit() -> Iterator[None]:
    def end(number: int, frame: FrameType | None) -> None:
        raise TooLong

    earlier = signal.signal(signal.SIGALRM, end)
    signal.alarm(LIMIT_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, earlier)
