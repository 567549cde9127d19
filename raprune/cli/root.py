"""The command line's root: what ``raprune`` alone knows, and how an error becomes a sentence and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated, cast

import typer

from raprune import __version__
from raprune.cli.console import open_console
from raprune.errors import RapruneError

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
    """Entry point: our own errors become sentences and exit codes, never tracebacks."""
    try:
        code = app(standalone_mode=False)  # what typer.Exit carries comes back as a number
    except USAGE_ERRORS as error:
        error.show()  # type: ignore[attr-defined]
        sys.exit(2)
    except RapruneError as error:
        open_console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        open_console(stderr=True).print("interrupted", style="yellow")
        sys.exit(130)
    if code:
        sys.exit(code)
