"""The command line's root: what ``raprune`` alone knows, and how an error becomes a sentence and an exit code."""

from __future__ import annotations

import io
import sys
import tempfile
import traceback
from typing import Annotated, cast

import typer

from raprune import __version__
from raprune.cli.console import open_console
from raprune.errors import RapruneError, in_words

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
    """Entry point: every error becomes a sentence and an exit code, never a traceback."""
    _print_anything()
    try:
        code = app(standalone_mode=False)  # what typer.Exit carries comes back as a number
    except USAGE_ERRORS as error:
        error.show()  # type: ignore[attr-defined]
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        open_console(stderr=True).print("interrupted", style="yellow")
        sys.exit(130)
    except Exception as error:
        said = str(error) if isinstance(error, RapruneError) else in_words(error) or _fault(error)
        open_console(stderr=True).print(said, style="red", highlight=False, soft_wrap=True)
        sys.exit(2)
    if code:
        sys.exit(code)


def _print_anything() -> None:
    """Characters that the terminal's encoding lacks are printed escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _fault(error: Exception) -> str:
    """A fault of ours in a sentence; its traceback, which whoever mends it needs, goes into a file."""
    whole = "".join(traceback.format_exception(error))
    said = f"raprune itself failed ({type(error).__name__}: {error}): this is a fault of raprune"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="raprune-", suffix=".txt", delete=False, errors="replace") as file:
            file.write(f"{sys.argv}\n{whole}")
    except OSError:  # no room for it: then it is printed
        return f"{said}\n{whole}"
    return f"{said}; please report it with {file.name}"
