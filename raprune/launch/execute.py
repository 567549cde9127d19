"""One trial, wherever it runs: builds its context, runs it, and records any outcome as a row."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass, replace
from pathlib import Path

from raprune.engine import engine_kind
from raprune.engine.inputs import Inputs
from raprune.engine.launches import masks_a_launch
from raprune.engine.workload import Baseline, Workload
from raprune.errors import RapruneError, ResultsError, StorageError
from raprune.evaluators.base import Evaluator, PoolAddress
from raprune.evaluators.engines import Engines
from raprune.evaluators.in_process import local_device
from raprune.evaluators.memo import Conditions, Keeping, Memo, Memoised
from raprune.evaluators.sharing import SharedGiven
from raprune.launch.spending import asked_by
from raprune.registry import EVALUATORS
from raprune.results import TrialStore, write_text
from raprune.study import TrialSpec
from raprune.study.parts import EvaluatorsSpec
from raprune.system.quitting import fault_of
from raprune.system.store import bring, deliver, held_elsewhere, publish
from raprune.trial.budget import Budget, BudgetSpent, Unlimited
from raprune.trial.context import Progress, TrialContext
from raprune.trial.pacing import Pace
from raprune.trial.rows import describe_error, unfinished_row
from raprune.trial.run import run_trial

MANIFEST = "manifest.json"
"""Written when a run begins, so a study's folder contains it unless somebody removed it."""


@dataclass(frozen=True)
class Place:
    """Where a study's trials run and where its files are; picklable."""

    out: str
    preset: str
    evaluators: EvaluatorsSpec
    num_evaluators: int
    device: str
    pool: PoolAddress | None
    """``None``: in process."""
    import_path: tuple[str, ...] = ()
    """Folders from which the study's own plug-ins are imported."""
    has_budget: bool = False
    """Whether the study has a budget; its actor is in the namespace of ``pool``."""
    pace: Pace | None = None
    """With what the study's scheduler compares the trials of this round."""
    given: SharedGiven | None = None
    """What the driver shares with other processes."""

    @property
    def memo_folder(self) -> Path:
        return Path(self.out) / "memo"

    def store(self, trial: TrialSpec, trial_id: str | None = None) -> TrialStore:
        """The folder of a trial (or of the one with ``trial_id``)."""
        return TrialStore(Path(self.out), trial.study, trial_id or trial.trial_id)

    @property
    def device_type(self) -> str:
        """The device that scores candidates: ``cpu``, ``cuda`` or ``mps``."""
        return local_device(self.evaluators.device) if self.pool is None else self.device

    def baseline_folder(self, trial: TrialSpec) -> Path:
        return Path(self.out) / "baselines" / trial.baseline_key

    def workload(self, trial: TrialSpec) -> Workload:
        return Workload.of(trial, self.baseline_folder(trial))


@dataclass(frozen=True)
class Holdings:
    """What a process that runs trials holds for them; its owner closes it."""

    inputs: Inputs
    memo: Memo
    engines: Engines | None = None
    """The engines of an in-process run; ``None`` where a pool scores."""


NO_BUDGET = Unlimited()


def check_folder(out: Path) -> None:
    """Raise :class:`ResultsError` where a study's folder was removed while it ran, or another machine runs it."""
    if (why := held_elsewhere(out)) is not None:
        raise ResultsError(f"{why}; this run ends")
    if not (out / MANIFEST).is_file():
        raise ResultsError(
            f"{out} was removed, renamed or emptied while the study ran: put it back, and the same "
            "command resumes from what it contains; without it, the study starts from the beginning"
        )


def execute(trial: TrialSpec, place: Place, holdings: Holdings, progress: Progress, budget: Budget = NO_BUDGET) -> str:
    """Run ``trial`` to its row; returns its status: ``completed``, ``failed``, or ``stopped`` by ``budget``.

    A trial that has a row returns at once. So does one that has not begun when the budget is spent; it gets no row. A
    failure leaves a row with the traceback, which is also written to ``error.txt``. Results on a store are taken from
    it first, and have arrived there at the end.
    """
    out = Path(place.out)
    if place.pool is not None:  # this process may be on another machine than the study's
        bring(out, _needs(trial))
    status = _execute(trial, place, holdings, progress, budget)
    for folder in (place.baseline_folder(trial), place.store(trial).folder):
        publish(folder)
    if place.pool is not None:
        with contextlib.suppress(StorageError):  # the study's process waits for what it needs, and tells
            deliver(out)
    return status


def _needs(trial: TrialSpec) -> list[str]:
    """What a trial reads, as parts of its study's folder."""
    partner = [f"trials/{trial.matched_trial_id}"] if trial.matched_trial_id else []
    return [".", "memo", f"baselines/{trial.baseline_key}", *partner, f"trials/{trial.trial_id}"]


def _execute(trial: TrialSpec, place: Place, holdings: Holdings, progress: Progress, budget: Budget) -> str:
    store = place.store(trial)
    try:
        if (status := store.status()) is not None:  # of this run, which began by removing the others
            return status
        if not store.num_committed() and budget.spent(trial.trial_id, asked_by(store)):
            return "stopped"
        try:
            store.check()
            row = run_trial(trial, replace(_context(trial, place, holdings, progress), budget=budget))
        finally:
            budget.spent(trial.trial_id, asked_by(store))  # as on disk: the layer in which it failed is lost
    except BudgetSpent:
        return "stopped"
    except SystemExit as error:
        if place.pool is not None:  # the user's code runs elsewhere: Tune ends the trial
            raise
        return write_failed(trial, place, describe_error(fault_of(error), socket.gethostname()))
    except Exception as error:  # any error belongs in the trial's row
        return write_failed(trial, place, describe_error(error, socket.gethostname()))
    return str(row["status"])


def write_failed(trial: TrialSpec, place: Place, text: str) -> str:
    """Write the row of a failed trial with its error ``text``, also to ``error.txt``; returns the status."""
    check_folder(Path(place.out))
    store = place.store(trial)
    store.write_trial(unfinished_row(trial, place.preset, "failed", text))
    write_text(store.folder / "error.txt", text)
    publish(store.folder)
    return "failed"


def _context(trial: TrialSpec, place: Place, holdings: Holdings, progress: Progress) -> TrialContext:
    folder = place.baseline_folder(trial)
    baseline = Baseline.read(folder)
    if baseline is None:
        raise RapruneError(f"the baseline in {folder} is missing")
    matched = None
    if trial.matched_trial_id is not None:
        matched = place.store(trial, trial.matched_trial_id)
        if matched.status() != "completed":
            raise RapruneError(f"trial {trial.matched_trial_id}, to which this one is matched, did not complete")
    workload = place.workload(trial)
    kind, where = ("in_process", holdings.engines) if place.pool is None else ("ray_pool", place.pool)
    evaluator: Evaluator = EVALUATORS.build(kind, place.evaluators.model_dump(), workload, where)
    if engine_kind(place.evaluators).reuses:
        conditions = Conditions.of(workload, baseline, place.device_type)
        if place.pool is None:  # the evaluators of a pool write their own results
            at_once = masks_a_launch(workload, place.device_type)
            evaluator = Keeping(evaluator, holdings.memo, conditions, at_once)
        evaluator = Memoised(evaluator, holdings.memo, conditions)
    return TrialContext(
        evaluator,
        holdings.inputs,
        workload,
        baseline,
        place.store(trial),
        matched,
        place.preset,
        place.num_evaluators,
        place.device,
        progress,
        pace=place.pace,
    )
