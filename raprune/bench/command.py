"""The command ``raprune bench`` from its arguments to its rows and its table."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from raprune.artefact.trials import TrialNetworks, open_trial
from raprune.bench.backends import BACKENDS
from raprune.bench.gathers import Gathers, share_of_time
from raprune.bench.measuring import BenchSettings, measure
from raprune.bench.proposal import propose
from raprune.bench.report import heading, proposal_lines, remarks, speed_table
from raprune.engine.inputs import Inputs
from raprune.errors import InputError
from raprune.registry import nearest
from raprune.study.allowing import AllowImport


def bench_trial(folder: Path, settings: BenchSettings, console: Console, allow_import: AllowImport = ()) -> None:
    """Measure the networks of the trial in ``folder``, write its ``speed.parquet`` and print what was found.

    ``allow_import`` as for :func:`raprune.artefact.open_trial`.
    """
    unknown = [name for name in settings.backends if name not in BACKENDS]
    if unknown:
        raise InputError(f"no backend is called {unknown[0]!r}{nearest(unknown[0], list(BACKENDS))}")
    with Inputs() as inputs:
        _bench(open_trial(folder, "bench", allow_import, inputs=inputs), settings, console)


def _bench(trial: TrialNetworks, settings: BenchSettings, console: Console) -> None:
    say(console, heading(trial))
    with console.status("measuring") as status:
        measured = measure(trial, settings, lambda what: status.update(f"measuring {what}"))
        gathers = Gathers.of(trial.traced, trial.keep_masks)
        shares = {}
        if gathers.layers:
            status.update("measuring what gathers take")
            for size in settings.batch_sizes:
                shape = (size, *trial.input_shape)
                shares[size] = share_of_time(trial.networks["pruned"], gathers.layers, shape, settings.threads)
        status.update("measuring batch sizes for scoring")
        proposal = propose(trial)
    trial.store.write_speed(measured.rows(trial, settings))
    table = speed_table(measured.cells, trial)
    whole = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    console.width = max(console.width, whole)
    console.print(table)
    for line in (*measured.notes, *remarks(trial, measured.cells, gathers, shares), *proposal_lines(proposal)):
        say(console, line)
    say(console, f"rows in {trial.store.folder / 'speed.parquet'}; raprune report {trial.study_dir} draws them")


def say(console: Console, line: str) -> None:
    """A line as it is, however long."""
    console.print(line, highlight=False, markup=False, soft_wrap=True)
