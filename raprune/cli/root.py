"""The command line's root: what ``raprune`` alone knows, and how an error becomes a sentence and an exit code."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated, cast

import typer

from raprune import __version__
from raprune.cli.console import open_console
from raprune.errors import EvaluatorError, RapruneError
from raprune.output import forgiving
from raprune.quitting import SIGNALS, Interrupted, fault_of, signals_handled_by

app = typer.Typer(
    name="raprune",
    help="How far can a convolutional network be pruned? Studies of learned filter pruning, on Ray.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: typer's boxes give every switch a value that it does not take
    pretty_exceptions_enable=False,
)
USAGE_ERRORS = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""Wrong arguments: click's exception, or that of the copy of click which newer typers hold."""


@app.callback(invoke_without_command=True)
def version_only(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"raprune {__version__}")
        raise typer.Exit()


def main() -> None:
    """Entry point: errors and signals become sentences and exit codes, never tracebacks."""
    ends_with_us = sys._getframe(1).f_code.co_name == "<module>"
    stopping = _Stopping()
    with forgiving(), signals_handled_by(stopping.handle):
        code = _run(stopping)
        if ends_with_us:  # Ctrl-C while Python and Ray tidy up ends that, without a traceback of theirs
            stopping.ended = True
    if ends_with_us:
        _end_by_signals()
    if code:
        sys.exit(code)


def _run(stopping: _Stopping) -> int:
    """The command, to its exit code."""
    try:
        try:
            return app(standalone_mode=False) or 0  # what typer.Exit carries comes back as a number
        except (SystemExit, KeyboardInterrupt) as error:
            if stopping.happened or isinstance(error, Interrupted):
                raise Interrupted from None
            raise fault_of(error) from error
    except USAGE_ERRORS as error:
        error.show()  # type: ignore[attr-defined]
        return 2
    except RapruneError as error:
        open_console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1 if isinstance(error, EvaluatorError) else 2
    except (Interrupted, typer.Abort):
        open_console(stderr=True).print("interrupted", style="yellow")
        return 130


class _Stopping:
    """The first signal ends the command; those that follow, while it ends, are ignored."""

    def __init__(self) -> None:
        self.happened = False
        self.ended = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        if not self.happened and not self.ended:
            self.happened = True
            raise Interrupted


def _end_by_signals() -> None:
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
