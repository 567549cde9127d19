"""The command ``schema``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Optional

import typer

from raprune.cli.root import app, examples
from raprune.cli.terminal import open_console
from raprune.system.paths import given_path


@app.command(
    epilog=examples(
        ("raprune schema --out study.schema.json", "for an editor; prints the line that a study begins with"),
        ("raprune schema", "print it"),
    )
)
def schema(
    out: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads the annotation)
        typer.Option("--out", metavar="FILE", help="Write it to this file instead of printing it.", parser=given_path),
    ] = None,
) -> None:
    """Print the JSON Schema of a study file, for editors. With --out, also print how a study file refers to it."""
    from raprune.study.json_schema import study_schema

    text = json.dumps(study_schema(), indent=1, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    from raprune.results import write_text

    write_text(out, text)
    line = f"# yaml-language-server: $schema={out.resolve()}"
    open_console().print(
        f"schema: {out}\nto use it, begin a study file with\n  {line}", highlight=False, soft_wrap=True
    )
