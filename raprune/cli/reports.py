"""The command ``report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from raprune.cli.completion import complete_results
from raprune.cli.root import app, examples
from raprune.cli.terminal import open_console
from raprune.console.plots import report_lines, write_report
from raprune.errors import InputError
from raprune.system.paths import given_path
from raprune.system.store import given_results, reading, tables


@app.command(
    epilog=examples(
        ("raprune report results/quickstart", "into results/quickstart/report"),
        ("raprune report results/a results/b --out both", "two studies in one page"),
        ("raprune report results/quickstart --format png,csv", "files of every figure, too"),
    )
)
def report(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR...",
            help="A study's folder: results/NAME. Several studies are compared in one page.",
            show_default=False,
            autocompletion=complete_results,
            parser=given_results,
        ),
    ],
    out: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads the annotation)
        typer.Option(
            "--out",
            metavar="DIR",
            help="Where to write it; required with several studies. [default: DIR/report]",
            parser=given_path,
        ),
    ] = None,
    formats: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="LIST",
            help="Files of every figure beside the page: png, svg, csv or latex, or several: png,csv.",
            show_default=False,
        ),
    ] = "",
) -> None:
    """Draw the report of a study, or of several: one page that needs no other file and no network."""
    for folder in folders:
        reading(folder, tables)
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder; a study's folder is results/NAME")
    wanted = [name for name in formats.replace(" ", "").split(",") if name]
    page = write_report(*folders, out=out, formats=wanted)
    for line in report_lines(page, wanted):
        open_console().print(line, highlight=False, soft_wrap=True)
