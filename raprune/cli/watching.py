"""The command ``watch``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from raprune.cli.completion import complete_results
from raprune.cli.root import app, examples
from raprune.cli.terminal import open_console
from raprune.errors import InputError
from raprune.system.quitting import Interrupted
from raprune.system.store import given_results, reading, shown, tables


@app.command(
    epilog=examples(
        ("raprune watch results/quickstart", "follow it until it ends"),
        ("raprune watch results/quickstart --once", "one view, for a script"),
        ("raprune watch results/quickstart --web", "a page for this machine's browser"),
    )
)
def watch(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="RESULTS",
            help="A study's folder: results/NAME.",
            show_default=False,
            autocompletion=complete_results,
            parser=given_results,
        ),
    ],
    web: Annotated[
        bool, typer.Option("--web", help="Serve the view as a page to this machine's browser, until Ctrl-C.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Print what the study does now, and end.")] = False,
) -> None:
    """Watch a study that runs elsewhere, from its folder alone. Ends when the study does."""
    from raprune.console import watching

    if web and once:
        raise InputError("--web serves a page until Ctrl-C, --once prints one view: give one of them")
    reading(folder, tables)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; a study's folder is results/NAME")
    console = open_console()
    if once:
        watching.once(folder, console)
        return
    try:
        if web:
            _serve(folder)
        else:
            watching.watch(folder, console)
    except Interrupted:  # Ctrl-C ends the watching, not the study
        return


def _serve(folder: Path) -> None:
    from raprune.console.snapshot import look
    from raprune.console.web import WatchServer

    look(folder)  # what cannot be shown at all is said here
    with WatchServer(folder) as server:
        open_console().print(f"{shown(folder)}: {server.address} (Ctrl-C ends it)", highlight=False, soft_wrap=True)
        server.serve_forever(poll_interval=0.2)
