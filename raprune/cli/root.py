"""The root of the command line: its own options, and how an error becomes a sentence and an exit code."""

from __future__ import annotations

import io
import sys
import tempfile
import traceback
from types import FrameType
from typing import Annotated, Any, cast

import typer
import typer.core

from raprune import __version__
from raprune.cli.terminal import open_console
from raprune.errors import EvaluatorError, RapruneError, StorageError, in_words
from raprune.system.output import forgiving
from raprune.system.quitting import (
    STOP,
    Interrupted,
    ignore_signals_at_last,
    quitting_is_a_fault,
    signals_end_with,
    signals_handled_by,
)


class _Commands(typer.core.TyperGroup):
    """Tells a signal from what user code raises, before typer takes both for Ctrl-C."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with quitting_is_a_fault():
                return super().invoke(ctx)
        except Interrupted:
            open_console(stderr=True).print("interrupted", style="yellow")
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    name="raprune",
    help="How far can a convolutional network be pruned? Studies of learned filter pruning, on Ray.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help: typer's boxes give every switch a value that it does not take
    pretty_exceptions_enable=False,
)


def examples(*lines: tuple[str, str]) -> str:
    """The end of a command's help: command lines with what they are for, not rewrapped (``\\b``)."""
    width = max(len(command) for command, _ in lines)
    shown = [f"  {command:{width}}  # {about}" if about else f"  {command}" for command, about in lines]
    return "\b\nExamples:\n" + "\n".join(shown)


USAGE_ERRORS = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""Wrong arguments: click's exception, or the one in the copy of click that newer typers contain."""


@app.callback(invoke_without_command=True)
def version_only(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"raprune {__version__}")
        raise typer.Exit()


def main() -> None:
    """Entry point: errors and signals become sentences and exit codes, never tracebacks."""
    _print_anything()
    STOP.forget()
    ends_with_us = sys._getframe(1).f_code.co_name == "<module>"
    if ends_with_us:
        ignore_signals_at_last()
    with forgiving(), signals_handled_by(_stop) as before:
        code = _run()
        if ends_with_us:  # Python and Ray clean up undisturbed
            signals_end_with(code)
            before.clear()
    if code:
        sys.exit(code)


def _run() -> int:
    """Run the command; returns its exit code."""
    try:
        return app(standalone_mode=False) or 0  # what typer.Exit carries comes back as a number
    except USAGE_ERRORS as error:
        error.show()  # type: ignore[attr-defined]
        return 2
    except typer.Abort:
        return 130
    except Exception as error:
        message = str(error) if isinstance(error, RapruneError) else in_words(error) or _fault(error)
        open_console(stderr=True).print(message, style="red", markup=False, highlight=False, soft_wrap=True)
        return 1 if isinstance(error, EvaluatorError | StorageError) else 2


def _stop(number: int, frame: FrameType | None) -> None:
    """The first signal ends the command; later ones, while it ends, are ignored."""
    del number, frame
    if STOP.note():
        raise Interrupted


def _print_anything() -> None:
    """Characters that the terminal's encoding lacks are printed escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fault(error: Exception) -> str:
    """A bug of raprune in a sentence; its traceback, needed to fix it, goes into a file."""
    whole = "".join(traceback.format_exception(error))
    message = f"raprune itself failed ({type(error).__name__}: {error}): this is a bug in raprune"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="raprune-", suffix=".txt", delete=False, errors="replace") as file:
            file.write(f"{sys.argv}\n{whole}")
    except OSError:  # no room for the file: print it
        return f"{message}\n{whole}"
    return f"{message}; please report it with {file.name}"
