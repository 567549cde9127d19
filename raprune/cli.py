"""The command line. Nothing heavy is imported before it is needed: ``--help`` starts in a blink."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, cast

import typer

from raprune import __version__
from raprune.errors import InputError, RapruneError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from rich.table import Table

    from raprune.preflight import Facts
    from raprune.progress import StudyProgress
    from raprune.registry import Plugin
    from raprune.study import StudyPlan

app = typer.Typer(
    name="raprune",
    help="How far can a convolutional network be pruned? Studies of learned filter pruning, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
USAGE_ERRORS = cast("type[Exception]", typer.BadParameter.__mro__[1])
"""Wrong arguments: click's exception, or that of the copy of click which newer typers hold."""

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

    console = _console()
    plan, facts = load_and_inspect(file, overrides or (), rehearse)
    folder = _folder(out or Path("results") / plan.spec.name)
    progress = _progress(plan, facts, console)
    with progress:
        outcome = run_study(plan, folder, progress, num_evaluators=evaluators, address=address)
    _print_whole(results_table(folder), console)
    console.print(f"\n{outcome.summary()} in {progress.clock()}; rows in {folder}", highlight=False, soft_wrap=True)
    if outcome.interrupted:
        console.print("interrupted; the same command goes on from the last committed layers", style="yellow")
    else:
        console.print(f"report: {_report(folder)}", highlight=False, soft_wrap=True)
    raise typer.Exit(outcome.exit_code)


@app.command()
def check(file: StudyFile, overrides: Sets = None, rehearse: Rehearse = False) -> None:
    """Check a study without running it: its trials, its data, what its drop bounds are in images."""
    from raprune.preflight import load_and_inspect
    from raprune.summary import facts_lines, plan_table

    console = _console()
    plan, facts = load_and_inspect(file, overrides or (), rehearse)
    _print_whole(plan_table(plan), console)
    for line in facts_lines(plan, facts):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


@app.command()
def bench(
    folder: Annotated[Path, typer.Argument(metavar="TRIAL_DIR", help="results/STUDY/trials/ID", show_default=False)],
    threads: Annotated[int, typer.Option("--threads", min=1, metavar="N", help="Processor threads.")] = 1,
    runs: Annotated[int, typer.Option("--runs", min=1, metavar="N", help="Runs of each network.")] = 50,
    batch_sizes: Annotated[list[int], typer.Option("--batch-size", min=1, metavar="N", help="Images a run.")] = [1, 64],  # noqa: B006
    backends: Annotated[
        list[str], typer.Option("--backend", metavar="NAME", help="May be given several times, as --batch-size.")
    ] = ["eager", "compiled", "onnxruntime"],  # noqa: B006
) -> None:
    """Measure how fast a trial's pruned network is beside its baseline."""
    from raprune.bench.command import bench_trial
    from raprune.bench.measuring import BenchSettings

    settings = BenchSettings(threads, runs, tuple(dict.fromkeys(batch_sizes)), tuple(dict.fromkeys(backends)))
    bench_trial(folder, settings, _console())


@app.command("list")
def list_plugins(
    kind: Annotated[
        Optional[str],  # noqa: UP045
        typer.Argument(help="model, dataset, score, method, order, reward or evaluator."),
    ] = None,
) -> None:
    """Every plug-in with its settings, their defaults and units."""
    from rich.markup import escape

    from raprune.registry import KINDS, nearest

    console = _console()
    if kind is not None and kind not in KINDS:
        raise InputError(f"no kind of plug-in is called {kind!r}{nearest(kind, list(KINDS))}")
    for name in [kind] if kind else KINDS:
        console.print(f"\n[bold]{name}[/bold]", highlight=False)
        for plugin in KINDS[name]:
            console.print(f"  [cyan]{plugin.name}[/cyan]  {escape(plugin.summary)}", highlight=False, soft_wrap=True)
            for line in _settings_lines(plugin):
                console.print(f"      {line}", style="dim", markup=False, highlight=False, soft_wrap=True)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A study's results folder.", show_default=False)],
) -> None:
    """Draw the report of a study: figures (PNG and SVG) and one page."""
    _console().print(f"report: {_report(folder)}", highlight=False, soft_wrap=True)


@app.callback(invoke_without_command=True)
def root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"raprune {__version__}")
        raise typer.Exit()


def main() -> None:
    """Entry point: our own errors become sentences and exit codes, never tracebacks."""
    try:
        code = app(standalone_mode=False)  # what typer.Exit carries comes back as a number
    except USAGE_ERRORS as error:
        error.show()  # type: ignore[attr-defined]
        sys.exit(2)
    except RapruneError as error:
        _console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        sys.exit(2)
    except (KeyboardInterrupt, typer.Abort):
        _console(stderr=True).print("interrupted", style="yellow")
        sys.exit(130)
    if code:
        sys.exit(code)


def _console(*, stderr: bool = False, width: int | None = None) -> Console:
    from rich.console import Console

    return Console(stderr=stderr, width=width)


def _print_whole(table: Table, console: Console) -> None:
    """A table with nothing cut off, however narrow the terminal."""
    whole = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    _console(width=max(console.width, whole)).print(table)


def _folder(folder: Path) -> Path:
    """The study's own folder, made if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"--out: {str(folder)!r} cannot be a folder: {error.strerror or error}") from None
    return folder


def _settings_lines(plugin: Plugin) -> list[str]:
    """The settings of a plug-in with their defaults and meanings."""
    from raprune.study.wording import shown

    lines = []
    for key, field in plugin.settings.model_fields.items():
        value = field.get_default(call_default_factory=True)
        default = "required" if field.is_required() else "not set" if value is None else f"= {shown(value)}"
        lines.append(f"{key} {default}  {' '.join((field.description or '').split())}")
    if hasattr(plugin.make, "rank"):
        lines.append("match not set  Another method of the study: prunes every layer to its num_kept, without search.")
    return [line.rstrip() for line in lines]


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


def _report(folder: Path) -> Path:
    import importlib
    import importlib.util

    # the wheel ships analysis/ inside raprune; in a checkout it lies beside it
    shipped = importlib.util.find_spec("raprune.analysis") is not None
    plots = importlib.import_module("raprune.analysis.plots" if shipped else "analysis.plots")
    page: Path = plots.write_report(folder)
    return page
