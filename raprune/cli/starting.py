"""The command ``init``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from raprune.cli.completion import complete_dataset, complete_model
from raprune.cli.root import app, examples
from raprune.cli.terminal import open_console
from raprune.errors import InputError
from raprune.system.paths import given_path

if TYPE_CHECKING:
    pass

OWN = "or your own, package.module:function"
Text = Optional[str]  # noqa: UP045  (typer reads the annotation)


@app.command(
    epilog=examples(
        ("raprune init", "asks, on a terminal"),
        ("raprune init my.yaml --model vgg16 --dataset cifar10 --checkpoint vgg.pt", ""),
        ("raprune init --model my_package.nets:build --dataset digits --drop-bound 1", ""),
    ),
)
def init(
    file: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Argument(metavar="FILE", help="The file to write. [default: NAME.yaml]", parser=given_path),
    ] = None,
    model: Annotated[
        Text, typer.Option("--model", metavar="NAME", help=f"A network, {OWN}.", autocompletion=complete_model)
    ] = None,
    dataset: Annotated[
        Text, typer.Option("--dataset", metavar="NAME", help=f"A data set, {OWN}.", autocompletion=complete_dataset)
    ] = None,
    score: Annotated[Text, typer.Option("--score", metavar="NAME", help="How good a network is.")] = None,
    drop_bound: Annotated[
        float, typer.Option("--drop-bound", metavar="POINTS", help="Points of validation score that may be lost.")
    ] = 2.0,
    checkpoint: Annotated[
        Text, typer.Option("--checkpoint", metavar="FILE", help="Trained weights. [default: train here]")
    ] = None,
    method: Annotated[Text, typer.Option("--method", metavar="NAME", help="How filters are ranked.")] = None,
    name: Annotated[Text, typer.Option("--name", metavar="NAME", help="The study's. [default: FILE's]")] = None,
    overrides: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--set", metavar="a.b=c", help="Set one more key, such as dataset.root; several times."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
) -> None:
    """Write a study file with a comment on every key. Asks for what is missing on a terminal."""
    from raprune.results import write_text
    from raprune.study.starting import Start, starting_study

    settings = list(overrides or ())
    if model is None or dataset is None:
        if not sys.stdin.isatty():
            raise InputError(_what_is_missing(model, dataset))
        model, dataset = model or _ask("model"), dataset or _ask("dataset")
        settings += _ask_settings(dataset, settings)
        drop_bound = typer.prompt("drop bound: points of validation score that may be lost", drop_bound, type=float)
        checkpoint = checkpoint or typer.prompt("checkpoint: file of trained weights (Enter: train here)", "") or None
    chosen = name or (file.stem if file is not None else f"{_short(model)}_{_short(dataset)}")
    out = file if file is not None else Path(f"{chosen}.yaml")
    if os.path.lexists(out) and not force:
        raise InputError(f"{out} exists: choose another name, or replace it with --force")
    start = Start(chosen, model, dataset, score, drop_bound, checkpoint, method)
    text, problems = starting_study(start, settings)
    write_text(out, text)
    console = open_console()
    console.print(f"study: {out}", highlight=False, soft_wrap=True)
    for problem in problems:
        console.print(f"before it can run: {problem.path}: {problem.message}", style="yellow", soft_wrap=True)
    console.print(f"next:\n  raprune check {out} --estimate\n  raprune study {out}", highlight=False, soft_wrap=True)


def _what_is_missing(model: str | None, dataset: str | None) -> str:
    from raprune.registry import DATASETS, MODELS

    lines = [
        f"--{option} is missing (known: {', '.join(registry.names())}; {OWN})"
        for option, value, registry in (("model", model, MODELS), ("dataset", dataset, DATASETS))
        if value is None
    ]
    return "\n".join(lines)


def _ask(kind: str) -> str:
    """A plug-in's name, asked until it is known."""
    from raprune.registry import KINDS, no_imports

    usual = {"model": "vgg16", "dataset": "digits"}[kind]
    typer.echo(f"{kind}: {', '.join(KINDS[kind].names())}, {OWN}")
    while True:
        given = str(typer.prompt(kind, usual))
        try:
            with no_imports():
                return KINDS[kind].get(given).name
        except InputError as error:
            typer.echo(str(error))


def _ask_settings(dataset: str, settings: list[str]) -> list[str]:
    """The settings that the data set needs and that are not given."""
    from raprune.registry import no_imports
    from raprune.study.starting import needed

    given = {text.partition("=")[0] for text in settings}
    with no_imports():
        missing = {key: about for key, about in needed("dataset", dataset).items() if f"dataset.{key}" not in given}
    return [f"dataset.{key}={typer.prompt(f'{key}: {about}')}" for key, about in missing.items()]


def _short(name: str) -> str:
    """The last word of an import path."""
    return name.rpartition(":")[2].rpartition(".")[2]
