"""The commands ``study`` and ``check``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional

import typer

from raprune.cli.completion import complete_study
from raprune.cli.root import app, examples
from raprune.cli.terminal import open_console, print_whole
from raprune.console.plots import write_report
from raprune.errors import InputError
from raprune.study.bundled import find_study
from raprune.system.paths import folder_for, given_path
from raprune.system.store import deliver, given_out, publish, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from raprune.engine.inputs import Inputs
    from raprune.preflight.checks import Facts
    from raprune.study import StudyPlan

StudyFile = Annotated[
    Path,
    typer.Argument(
        metavar="STUDY",
        help="A study file (YAML), or the name of a study that comes with raprune.",
        show_default=False,
        parser=given_path,
        callback=find_study,
        autocompletion=complete_study,
    ),
]
Out = Annotated[
    Optional[Path],  # noqa: UP045  (typer reads the annotation)
    typer.Option(
        "--out",
        metavar="DIR",
        help="The study's own folder, or s3://BUCKET/STUDY. [default: results/NAME]",
        parser=given_out,
    ),
]
Sets = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--set", metavar="a.b=c", help="Override one key of the study; may be given several times."),
]
Rehearse = Annotated[
    bool,
    typer.Option("--rehearse", help="Run the study's rehearsal: the same layers at small scale, without a download."),
]


@app.command(
    epilog=examples(
        ("raprune study quickstart", "a study that comes with raprune; minutes, no download"),
        ("raprune study my.yaml --evaluators 4", "again after an interruption: it resumes"),
        ("raprune study my.yaml --set drop_bound=1 --out results/strict", "one key changed, a folder of its own"),
    )
)
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
    tracker: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option("--tracker", metavar="NAME", help="Also show it in mlflow, tensorboard or wandb; several times."),
    ] = None,
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Start Ray's dashboard with the study; its address is printed.")
    ] = False,
) -> None:
    """Run a study, or resume it. Running the same command again skips what is complete."""
    if dashboard:
        overrides = [*(overrides or ()), "evaluators.dashboard=true"]
    if tracker:
        from raprune.cli.trackers import with_trackers

        overrides = with_trackers(file, tracker, overrides or (), rehearse)
    _refuse_misspelt(file, overrides, rehearse)
    from raprune.console.baselines import weak_lines
    from raprune.console.best import best_sentence
    from raprune.console.tables import budget_sentence, left_out_lines, results_table, study_progress
    from raprune.engine.inputs import Inputs
    from raprune.launch import run_study
    from raprune.preflight.checks import load_and_inspect
    from raprune.results import read_study

    console = open_console()
    with Inputs(tell=partial(console.print, style="dim", markup=False, highlight=False, soft_wrap=True)) as inputs:
        plan, facts = load_and_inspect(file, overrides or (), rehearse, inputs)
        folder = folder_for(out or Path("results") / plan.spec.name, "--out")
        for line in (line for fact in facts.values() for line in left_out_lines(fact)):
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        progress = study_progress(plan, facts, console, folder)
        with progress:
            outcome = run_study(plan, folder, progress, num_evaluators=evaluators, address=address, inputs=inputs)
    tables = read_study(folder, ["trial"])
    print_whole(results_table(tables), console)
    for line in weak_lines(folder, progress.trained):
        console.print(line, style="yellow", highlight=False, soft_wrap=True)
    if plan.spec.search is not None:
        found = best_sentence(plan.spec.search, tables.trials.to_dict("records"), tables.manifest["axes"])
        console.print(f"\n{found}", highlight=False, markup=False, soft_wrap=True)
    told = f"{outcome.summary()} in {progress.clock()}; rows in {shown(folder)}"
    console.print(f"\n{told}", highlight=False, soft_wrap=True)
    if outcome.interrupted:
        console.print("interrupted; the same command resumes from the last committed layers", style="yellow")
    else:
        if outcome.lost is not None:
            console.print(outcome.lost, style="red", markup=False, highlight=False, soft_wrap=True)
        if outcome.budget is not None:
            console.print(budget_sentence(folder, outcome.budget), style="yellow", highlight=False, soft_wrap=True)
        console.print(f"report: {write_report(folder)}", highlight=False, soft_wrap=True)
    publish(folder)
    deliver(folder)
    raise typer.Exit(outcome.exit_code)


@app.command(
    epilog=examples(
        ("raprune check my.yaml", "what is wrong, or what would run"),
        ("raprune check my.yaml --estimate", "also how long it takes"),
        ("raprune check theirs.yaml --no-import", "without running code that it names"),
    )
)
def check(
    file: StudyFile,
    overrides: Sets = None,
    rehearse: Rehearse = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Also time some of its work here, to estimate the whole cost.")
    ] = False,
    evaluators: Annotated[
        Optional[int],  # noqa: UP045
        typer.Option("--evaluators", min=0, metavar="N", help="Also estimate the hours with N evaluators."),
    ] = None,
    no_import: Annotated[
        bool, typer.Option("--no-import", help="Import no code that the study names; for studies you do not trust.")
    ] = False,
) -> None:
    """Check a study without running it. Prints its trials, its data, and its drop bounds as numbers of images."""
    _refuse_misspelt(file, overrides, rehearse, own=not no_import)
    from raprune.console.tables import facts_lines, plan_table
    from raprune.engine.inputs import Inputs
    from raprune.preflight.checks import load_and_inspect

    console = open_console()
    if no_import:
        if estimate or evaluators is not None:
            raise InputError("--no-import: an estimate runs the study's code; omit --estimate and --evaluators")
        _check_without_imports(file, overrides or (), rehearse, console)
        return
    with Inputs(tell=partial(console.print, style="dim", markup=False, highlight=False, soft_wrap=True)) as inputs:
        plan, facts = load_and_inspect(file, overrides or (), rehearse, inputs)
        print_whole(plan_table(plan), console)
        for line in facts_lines(plan, facts):
            console.print(line, highlight=False, soft_wrap=True)
        if estimate or evaluators is not None:
            _print_estimate(plan, facts, inputs, evaluators, console)


def _refuse_misspelt(file: Path, overrides: list[str] | None, rehearse: bool, own: bool = True) -> None:
    """Tell what is misspelt before what takes seconds is imported."""
    from raprune.study import read_study_file
    from raprune.study.misspelt import refuse_misspelt

    refuse_misspelt(read_study_file(file, overrides or (), rehearse), own)


def _check_without_imports(file: Path, overrides: Sequence[str], rehearse: bool, console: Console) -> None:
    from raprune.console.tables import facts_lines, plan_table
    from raprune.preflight.without_import import load_without_imports

    found = load_without_imports(file, overrides, rehearse)
    print_whole(plan_table(found.plan), console)
    for line in facts_lines(found.known, found.facts):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    unknown = len(found.plan.trials) - len(found.known.trials)
    console.print(
        f"\nnothing was imported; {unknown} of {len(found.plan.trials)} trials name code of their own, whose "
        "networks, data and scores are not checked:" if found.imports else "\nthe study imports no code",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    for line in found.imports:
        console.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)


def _print_estimate(
    plan: StudyPlan, facts: Mapping[str, Facts], inputs: Inputs, evaluators: int | None, console: Console
) -> None:
    from raprune.preflight.estimate import NUM_EVALUATORS, estimate_study
    from raprune.preflight.estimate.lines import facts_of, heading, hours_table, limits, uncertain

    def told(text: str) -> None:
        console.print(text, style="dim", highlight=False, soft_wrap=True)

    console.print()
    spec = plan.spec.evaluators
    own = [number for number in (evaluators, spec.count, spec.min, spec.max) if isinstance(number, int)]
    found = estimate_study(plan, facts, told, sorted({*NUM_EVALUATORS, *own}), inputs)
    console.print(f"\n{heading(found)}", highlight=False, soft_wrap=True)
    for line in facts_of(found):
        console.print(line, highlight=False, soft_wrap=True)
    print_whole(hours_table(found), console)
    for line in (*limits(found), uncertain(found)):
        console.print(line, highlight=False, soft_wrap=True)
