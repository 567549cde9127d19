"""The command ``schema``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Optional

import typer

from raprune.cli.console import open_console
from raprune.cli.root import app
from raprune.errors import InputError


@app.command()
def schema(
    out: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads the annotation)
        typer.Option("--out", metavar="FILE", help="Write it to this file; without, it is printed."),
    ] = None,
) -> None:
    """Print the JSON Schema of a study file, for editors. With --out it also says how a study file names it."""
    from raprune.study.json_schema import study_schema

    text = json.dumps(study_schema(), indent=1, ensure_ascii=False) + "\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    aside = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, out)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise InputError(f"--out: {str(out)!r} cannot be written: {error.strerror or error}") from None
    line = f"# yaml-language-server: $schema={out.resolve()}"
    open_console().print(
        f"schema: {out}\nto use it, begin a study file with\n  {line}", highlight=False, markup=False, soft_wrap=True
    )
