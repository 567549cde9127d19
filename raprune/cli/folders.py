"""The commands on folders of results: ``ls`` and ``clean``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from raprune.cli.completion import complete_results
from raprune.cli.root import app, examples
from raprune.cli.terminal import open_console, print_whole
from raprune.console.cleaning import KEEPS, KINDS, clean_and_tell
from raprune.errors import InputError
from raprune.system.store import given_results, shown, studies_at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from raprune.results.shelf import StudyEntry


@app.command(
    "ls",
    epilog=examples(
        ("raprune ls", "the studies under results/"),
        ("raprune ls results/quickstart", "its trials, and the folders that export and bench take"),
        ("raprune ls --json", "for programs"),
    ),
)
def list_folder(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="A folder of studies, or a study's own folder.",
            autocompletion=complete_results,
            parser=given_results,
        ),
    ] = Path("results"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: bytes, shares from 0 to 1, points.")] = False,
) -> None:
    """List the studies in a folder, or the trials of one study."""
    from raprune.console.shelf import studies_data, study_data
    from raprune.results.shelf import studies_in, study_entry

    places = studies_at(folder)
    if places is None and not folder.is_dir():
        way_on = "" if str(folder) != "results" else ": no study has been run here; name another folder"
        raise InputError(f"{folder} is not a folder{way_on}")
    if places is None and ((folder / "manifest.json").is_symlink() or (folder / "manifest.json").exists()):
        entry = study_entry(folder)
        if as_json:
            typer.echo(json.dumps(study_data(entry, with_trials=True), indent=1))
        else:
            _print_study(entry)
        return
    studies = studies_in(folder) if places is None else [study_entry(place) for place in places]
    if not studies:
        raise InputError(f"{shown(folder)} contains no study: neither it nor a folder in it has a manifest.json")
    if as_json:
        typer.echo(json.dumps(studies_data(studies), indent=1))
    else:
        _print_studies(studies)


@app.command(
    epilog=examples(
        ("raprune clean results/quickstart", "say what each kind takes"),
        (
            "raprune clean results/quickstart --yes",
            "delete stale trials and half-written files; --memo, --reports: others",
        ),
        ("raprune clean --mirrors", "this machine's copies of all studies on stores"),
    ),
)
def clean(
    folders: Annotated[
        Optional[list[Path]],  # noqa: UP045  (typer reads the annotation)
        typer.Argument(
            metavar="[DIR...]",
            help="Studies' folders, results/NAME, or addresses; with --mirrors alone, none.",
            show_default=False,
            autocompletion=complete_results,
            parser=given_results,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Delete; without it nothing is changed.")] = False,
    stale: Annotated[bool, typer.Option("--stale", help=KINDS["stale"])] = False,
    partial: Annotated[bool, typer.Option("--partial", help=KINDS["partial"])] = False,
    unfinished: Annotated[bool, typer.Option("--unfinished", help=KINDS["unfinished"])] = False,
    memo: Annotated[bool, typer.Option("--memo", help=KINDS["memo"])] = False,
    reports: Annotated[bool, typer.Option("--reports", help=KINDS["reports"])] = False,
    state: Annotated[bool, typer.Option("--state", help=KINDS["state"])] = False,
    models: Annotated[bool, typer.Option("--models", help=KINDS["models"])] = False,
    mirrors: Annotated[bool, typer.Option("--mirrors", help=KINDS["mirrors"])] = False,
    keep: Annotated[
        Optional[str],  # noqa: UP045  (typer reads the annotation)
        typer.Option("--keep", metavar="RULE", help="With --models: best or front, in place of keep_models."),
    ] = None,
) -> None:
    """Say what could be deleted from studies' folders; delete it with --yes.

    Rows of completed trials of the present study, and baselines, always stay. The usual kinds: --stale, --partial.
    """
    if keep not in (None, *KEEPS):
        raise InputError(f"--keep must be {' or '.join(KEEPS)}; got {keep!r}")
    if keep is not None and not models:
        raise InputError("--keep goes with --models")
    chosen = {
        "stale": stale, "partial": partial, "unfinished": unfinished, "memo": memo, "reports": reports, "state": state,
        "models": models, "mirrors": mirrors,
    }  # fmt: skip
    kinds = tuple(kind for kind, wanted in chosen.items() if wanted)
    if not folders and kinds != ("mirrors",):
        raise InputError("name the studies' folders: results/NAME; only --mirrors alone takes none: then it is of all")
    raise typer.Exit(clean_and_tell(folders or [], kinds, keep, open_console(), delete=yes))


def _print_studies(studies: Sequence[StudyEntry]) -> None:
    from raprune.console.shelf import studies_table

    console = open_console()
    print_whole(studies_table(studies), console)
    _print_problems([problem for entry in studies for problem in entry.problems])


def _print_study(entry: StudyEntry) -> None:
    from raprune.console.shelf import counts, size, trials_table
    from raprune.results import allow_options

    console = open_console()
    running = f" ({entry.running})" if entry.running else ""
    console.print(f"{entry.name}: {counts(entry)}{running}; {size(entry.num_bytes)}\n", highlight=False, soft_wrap=True)
    print_whole(trials_table(entry), console)
    _print_problems(entry.problems)
    with_network = [trial for trial in entry.trials if trial.has_network and trial.row]
    if with_network:
        chosen = entry.best if entry.best in with_network else with_network[0]
        console.print("\nexport and bench take a trial's folder, such as", highlight=False, soft_wrap=True)
        assert chosen is not None
        console.print(f"  {shown(chosen.folder)}{allow_options(chosen.row, 'export')}", highlight=False, soft_wrap=True)


def _print_problems(problems: Sequence[str]) -> None:
    console = open_console()
    for problem in problems:
        console.print(problem, style="red", highlight=False, soft_wrap=True)
