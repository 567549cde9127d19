"""The command ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from raprune.cli.console import open_console
from raprune.cli.plots import write_report
from raprune.cli.root import app


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A study's results folder.", show_default=False)],
) -> None:
    """Draw the report of a study: figures (PNG and SVG) and one page."""
    open_console().print(f"report: {write_report(folder)}", highlight=False, soft_wrap=True)
