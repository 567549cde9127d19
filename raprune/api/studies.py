"""Study files from Python: load, check and run them, and read their tables as pandas frames."""

from __future__ import annotations

import html
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from os import PathLike
from pathlib import Path

import pandas as pd
from rich.console import Console

from raprune.api.running import evaluators_for, folder_for, run
from raprune.console.plots import write_report
from raprune.console.tables import facts_lines, results_table
from raprune.engine.inputs import Inputs
from raprune.errors import InputError, translated
from raprune.preflight.checks import Facts, load_and_inspect
from raprune.registry import nearest
from raprune.results import SCHEMAS, Tables, read_study
from raprune.study import StudyPlan
from raprune.study.bundled import find_study
from raprune.study.wording import counted
from raprune.system.paths import given_path
from raprune.system.store import deliver, publish

TEXT_WIDTH = 160
"""Columns of a result's table as text: no cell of it is folded."""


@dataclass(frozen=True, eq=False, repr=False)
class Study:
    """A loaded study without problems: ``print`` shows what ``raprune check`` shows."""

    plan: StudyPlan
    facts: Mapping[str, Facts]
    """Facts about its networks, data and bounds."""

    @property
    def name(self) -> str:
        """Its name, and that of its folder."""
        return self.plan.spec.name

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial: ``trial_id``, its values on the sweep's axes, and the trial that it is matched to."""
        rows: list[dict[str, str | None]] = [
            {"trial_id": t.trial_id, **self.plan.axes[t.trial_id], "matched_trial_id": t.matched_trial_id}
            for t in self.plan.trials
        ]
        return pd.DataFrame(rows)

    def __str__(self) -> str:
        table = self.trials.fillna("").to_string(index=False)
        head = f"{self.name}: {counted(len(self.plan.trials), 'trial')}"
        return "\n".join([head, table, *facts_lines(self.plan, self.facts)])

    __repr__ = __str__


@dataclass(frozen=True, eq=False, repr=False)
class StudyResult:
    """What a study left in its folder: ``print``, or a notebook, shows the table that ends ``raprune study``."""

    out: Path
    statuses: Mapping[str, str]
    """trial_id -> ``completed``, ``failed`` or ``stopped``."""
    report_path: Path | None
    """The report's page, if it was drawn."""

    _frames: dict[str, pd.DataFrame] = field(default_factory=dict, init=False)

    @property
    def completed(self) -> bool:
        """Whether every trial completed."""
        return set(self.statuses.values()) == {"completed"}

    @cached_property
    def tables(self) -> Tables:
        """All tables and the manifest, read once."""
        with translated():
            return read_study(self.out)

    def frame(self, table: str = "trial") -> pd.DataFrame:
        """One of the tables that docs/results.md explains: ``trial``, ``layers``, ``updates``, ``candidates``, ..."""
        if table not in SCHEMAS:
            raise InputError(f"no table is called {table!r}{nearest(table, list(SCHEMAS))}")
        if table not in self._frames:
            with translated():
                own = read_study(self.out, [table])
            self._frames[table] = getattr(own, "trials" if table == "trial" else table)
        return self._frames[table]

    @property
    def errors(self) -> dict[str, str]:
        """trial_id -> traceback, of the trials that failed."""
        failed = self.frame().query("status == 'failed'")
        return dict(zip(failed["trial_id"], failed["error"], strict=True))

    def __str__(self) -> str:
        console = Console(file=io.StringIO(), width=TEXT_WIDTH, color_system=None)
        with console.capture() as captured:
            console.print(results_table(read_study(self.out, ["trial"])))
        lines = [line.rstrip() for line in captured.get().splitlines()]
        drawn = [f"report: {self.report_path}"] if self.report_path is not None else []
        return "\n".join([*lines, f"rows: {self.out}", *drawn])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        """As notebooks show it."""
        return f"<pre>{html.escape(str(self))}</pre>"


@translated()
def load_study(file: str | PathLike[str], overrides: Iterable[str] = (), rehearse: bool = False) -> Study:
    """Load a study file (or a study that comes with raprune, by name), check it and expand its sweep; nothing is run.

    ``overrides`` are ``a.b=value`` texts, as ``--set`` takes them; ``rehearse`` takes its rehearsal. Raises
    :class:`raprune.errors.StudyError` with everything that is wrong.
    """
    with Inputs() as inputs:
        return _load(file, overrides, rehearse, inputs)


def _load(file: str | PathLike[str], overrides: Iterable[str], rehearse: bool, inputs: Inputs) -> Study:
    if isinstance(overrides, str):
        overrides = [overrides]
    return Study(*load_and_inspect(find_study(given_path(file)), overrides, rehearse, inputs))


@translated()
def run_study(
    study: Study | str | PathLike[str],
    out: str | PathLike[str] | None = None,
    evaluators: int | None = None,
    address: str | None = None,
    *,
    overrides: Iterable[str] = (),
    rehearse: bool = False,
    progress: bool = True,
    report: bool = True,
) -> StudyResult:
    """Run or resume a study (or its file, as :func:`load_study` takes it) in its folder ``out``.

    ``out`` is ``results/<name>`` by default. ``evaluators`` overrides the study's number; 0 scores in this process.
    ``address`` joins a running Ray cluster: ``auto``, or ``host:port``. A failed trial leaves its row; the others
    continue. Raises :class:`raprune.errors.InputError` where the study cannot be run here.
    """
    if isinstance(study, Study) and (tuple(overrides) or rehearse):
        raise InputError("overrides and rehearse: pass them to load_study, which loaded this study")
    with Inputs() as inputs:
        if not isinstance(study, Study):
            study = _load(study, overrides, rehearse, inputs)
        count = evaluators_for(evaluators, address)
        folder = folder_for(Path("results") / study.name if out is None else out)
        outcome = run(study.plan, study.facts, folder, inputs, evaluators=count, address=address, progress=progress)
    page = write_report(folder) if report else None
    publish(folder)
    deliver(folder)
    return StudyResult(folder, outcome.statuses, page)
