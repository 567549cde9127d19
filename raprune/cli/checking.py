"""The commands on finished results: ``compare`` and ``verify``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from raprune.cli.completion import complete_results
from raprune.cli.root import app, examples
from raprune.cli.terminal import open_console, print_whole
from raprune.cli.trials import AllowImport
from raprune.errors import InputError
from raprune.system.store import given_results, reading, tables


@app.command(
    epilog=examples(
        ("raprune compare results/a results/b", "two studies, paired by what they share"),
        ("raprune compare results/quickstart --a method=taylor --b method=magnitude", "two methods of one"),
        ("raprune compare results/a results/b --on filters --json", "for another program"),
    )
)
def compare(
    a: Annotated[
        Path,
        typer.Argument(
            metavar="A",
            help="A study's folder, results/NAME, or a trial's, results/NAME/trials/ID.",
            show_default=False,
            autocompletion=complete_results,
            parser=given_results,
        ),
    ],
    b: Annotated[
        Optional[Path],  # noqa: UP045  (typer reads the annotation)
        typer.Argument(
            metavar="[B]",
            help="Another one; without it, --a and --b choose two sides of A.",
            show_default=False,
            autocompletion=complete_results,
            parser=given_results,
        ),
    ] = None,
    of_a: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--a", metavar="KEY=VALUE", help="Which trials of A: method=taylor; may be given several times."),
    ] = None,
    of_b: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--b", metavar="KEY=VALUE", help="Which trials of B (of A, without B)."),
    ] = None,
    on: Annotated[str, typer.Option("--on", metavar="WHAT", help="macs, params or filters.")] = "macs",
    by: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--by", metavar="KEY", help="One verdict for each value of KEY. [default: drop_bound]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the comparison as JSON.")] = False,
) -> None:
    """Compare two studies, trials or settings: which prunes more, at what drop, and is the difference chance?"""
    import json

    from raprune.console import comparison
    from raprune.results.comparing import compare as compare_sides
    from raprune.results.sides import side_of

    if b is None and not (of_a and of_b):
        raise InputError("name two folders, or choose two sides of one: --a method=taylor --b method=magnitude")
    for folder in filter(None, (a, b)):
        reading(folder, tables)
    found = compare_sides(side_of(a, of_a or ()), side_of(a if b is None else b, of_b or ()), on, by or ())
    if as_json:
        typer.echo(json.dumps(comparison.as_json(found), indent=1))
    else:
        console = open_console()
        for line in comparison.verdict_lines(found):
            console.print(line, highlight=False, soft_wrap=True)
        if found.groups:
            print_whole(comparison.comparison_table(found), console)
        for line in comparison.remark_lines(found):
            console.print(line, highlight=False, soft_wrap=True)
    raise typer.Exit(1 if found.obstacles else 0)


@app.command(
    epilog=examples(
        ("raprune verify results/quickstart", "1% of its candidates, and all that was committed"),
        ("raprune verify results/quickstart/trials/ID --share 1", "one trial, every candidate"),
        ("raprune verify results/mine --allow-import my_nets", "code that the study names may run"),
    )
)
def verify(
    folder: Annotated[
        Path,
        typer.Argument(
            metavar="DIR",
            help="A study's folder, results/NAME, or one trial's, results/NAME/trials/ID.",
            show_default=False,
            autocompletion=complete_results,
            parser=given_results,
        ),
    ],
    share: Annotated[
        float, typer.Option("--share", min=0, max=1, metavar="S", help="Share of the candidates to score again.")
    ] = 0.01,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Which candidates are drawn.")] = 0,
    allow_import: AllowImport = None,
) -> None:
    """Score a random 1% of a study's candidates again, here, and all that was committed: are its tables true?"""
    from raprune.console.verification import telling, verification_lines
    from raprune.engine.inputs import Inputs
    from raprune.launch.verifying import Part
    from raprune.launch.verifying import verify as verify_study
    from raprune.preflight.without_import import load_allowed
    from raprune.results import place_of, read_manifest

    out, trial_id = place_of(reading(folder))
    manifest, console = read_manifest(out), open_console()
    with Inputs() as inputs, telling(console) as tell:
        tell("loading the study")
        plan = load_allowed(out / "study.yaml", allow_import or (), inputs)
        trial_ids = manifest["trial_ids"] if trial_id is None else [trial_id]
        found = verify_study(plan, out, manifest, Part(trial_ids, share, seed), inputs=inputs, tell=tell)
    if not found.num_trials:
        raise InputError("\n".join([f"{folder}: nothing can be verified", *found.unchecked]))
    for line in verification_lines(found, manifest):
        console.print(line, highlight=False, soft_wrap=True)
    raise typer.Exit(1 if found.is_refuted else 0)
