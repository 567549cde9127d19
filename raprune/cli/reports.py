"""The command ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from raprune.cli.completion import complete_results
from raprune.cli.console import open_console
from raprune.cli.plots import write_report
from raprune.cli.root import app
from raprune.errors import InputError


@app.command()
def report(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR", help="A study's folder: results/NAME.", show_default=False, autocompletion=complete_results
        ),
    ],
) -> None:
    """Draw the report of a study: figures (PNG and SVG) and one page."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; a study's is results/NAME")
    open_console().print(f"report: {write_report(folder)}", highlight=False, soft_wrap=True)
