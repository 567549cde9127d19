"""The commands ``study`` and ``check``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from raprune.cli.console import open_console, print_whole
from raprune.cli.plots import write_report
from raprune.cli.root import app
from raprune.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from raprune.preflight import Facts
    from raprune.progress import StudyProgress
    from raprune.study import StudyPlan

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (YAML).", show_default=False)]
Out = Annotated[
    Optional[Path],  # noqa: UP045  (typer reads the annotation)
    typer.Option("--out", metavar="DIR", help="The study's own folder. [default: results/NAME]"),
]
Sets = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", metavar="a.b=c", help="Override one key of the study; may be given several times."),
]
Rehearse = Annotated[
    bool,
    typer.Option("--rehearse", help="Run the study's rehearsal: the same layers, in small, without a download."),
]


@app.command()
def study(
    file: StudyFile,
    out: Out = None,
    evaluators: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--evaluators", min=0, metavar="N", help="Evaluators in the pool; 0 scores in this process."),
    ] = None,
    address: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--address", metavar="A", help="Join a running Ray cluster: auto, or host:port."),
    ] = None,
    overrides: Sets = None,
    rehearse: Rehearse = False,
) -> None:
    """Run a study, or go on with it; the same command again skips what is complete."""
    from raprune.launch import run_study
    from raprune.preflight import load_and_inspect
    from raprune.summary import results_table

    console = open_console()
    plan, facts = load_and_inspect(file, overrides or (), rehearse)
    folder = _folder(out or Path("results") / plan.spec.name)
    progress = _progress(plan, facts, console)
    with progress:
        outcome = run_study(plan, folder, progress, num_evaluators=evaluators, address=address)
    print_whole(results_table(folder), console)
    console.print(f"\n{outcome.summary()} in {progress.clock()}; rows in {folder}", highlight=False, soft_wrap=True)
    if outcome.interrupted:
        console.print("interrupted; the same command goes on from the last committed layers", style="yellow")
    else:
        console.print(f"report: {write_report(folder)}", highlight=False, soft_wrap=True)
    raise typer.Exit(outcome.exit_code)


@app.command()
def check(file: StudyFile, overrides: Sets = None, rehearse: Rehearse = False) -> None:
    """Check a study without running it: its trials, its data, what its drop bounds are in images."""
    from raprune.preflight import load_and_inspect
    from raprune.summary import facts_lines, plan_table

    console = open_console()
    plan, facts = load_and_inspect(file, overrides or (), rehearse)
    print_whole(plan_table(plan), console)
    for line in facts_lines(plan, facts):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _folder(folder: Path) -> Path:
    """The study's own folder, made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out: {str(folder)!r} cannot be a folder: {error.strerror or error}") from None
    return folder


def _progress(plan: StudyPlan, facts: Mapping[str, Facts], console: Console) -> StudyProgress:
    from raprune.preflight import expected_candidates, facts_key, num_layers
    from raprune.progress import StudyProgress, TrialProgress
    from raprune.summary import trial_label

    trials = {}
    for trial in plan.trials:
        fact = facts[facts_key(trial)]
        label = trial_label(plan.axes[trial.trial_id])
        trials[trial.trial_id] = TrialProgress(label, expected_candidates(trial, fact), num_layers(trial, fact))
    return StudyProgress(console, trials)
