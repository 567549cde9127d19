"""The command ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from raprune.cli.completion import complete_results
from raprune.cli.root import app, examples
from raprune.cli.terminal import open_console
from raprune.console.plots import write_report
from raprune.errors import InputError
from raprune.system.paths import given_path


@app.command(
    epilog=examples(
        ("raprune report results/quickstart", "into results/quickstart/report"),
        ("raprune report results/quickstart --out page", "elsewhere"),
    )
)
def report(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="A study's folder: results/NAME.",
            show_default=False,
            autocompletion=complete_results,
            parser=given_path,
        ),
    ],
    out: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads the annotation)
        typer.Option("--out", metavar="DIR", help="Where to write it. [default: DIR/report]", parser=given_path),
    ] = None,
) -> None:
    """Draw the report of a study: figures (PNG and SVG) and one page."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; a study's folder is results/NAME")
    open_console().print(f"report: {write_report(folder, out)}", highlight=False, soft_wrap=True)
