"""One trial, wherever it runs: builds its context, runs it, and turns whatever happens into a row."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raprune.errors import RapruneError
from raprune.evaluating import Evaluator, PoolAddress
from raprune.evaluators.in_process import local_device
from raprune.memo import Conditions, Memo, Memoised
from raprune.registry import EVALUATORS, add_import_path
from raprune.results import TrialStore, write_text
from raprune.rows import describe_error, unfinished_row
from raprune.study import TrialSpec
from raprune.study.parts import EvaluatorsSpec
from raprune.trial import TrialContext, run_trial
from raprune.workload import Baseline, Workload


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

    def store(self, trial: TrialSpec, trial_id: str | None = None) -> TrialStore:
        """The folder of a trial (or of the one with ``trial_id``)."""
        return TrialStore(Path(self.out), trial.study, trial_id or trial.trial_id)

    @property
    def device_type(self) -> str:
        """``cpu``, ``cuda`` or ``mps``: what candidates are scored on."""
        return local_device(self.evaluators.device) if self.pool is None else self.device

    def baseline_folder(self, trial: TrialSpec) -> Path:
        return Path(self.out) / "baselines" / trial.baseline_key


def execute(trial: TrialSpec, place: Place, progress: Callable[[dict[str, Any]], None]) -> str:
    """Run ``trial`` to its row and give back its status: ``completed`` or ``failed``.

    A completed trial returns at once. A failure leaves a row with the traceback, and the same in ``error.txt``.
    """
    add_import_path(place.import_path)
    store = place.store(trial)
    if store.status() == "completed":
        return "completed"
    try:
        run_trial(trial, _context(trial, place, store, progress))
    except Exception as error:  # whatever it is, it belongs into the trial's row
        text = describe_error(error, socket.gethostname())
        store.write_trial(unfinished_row(trial, place.preset, "failed", text))
        write_text(store.folder / "error.txt", text)
        return "failed"
    return "completed"


def _context(
    trial: TrialSpec, place: Place, store: TrialStore, progress: Callable[[dict[str, Any]], None]
) -> TrialContext:
    folder = place.baseline_folder(trial)
    baseline = Baseline.read(folder)
    if baseline is None:
        raise RapruneError(f"the baseline in {folder} is missing")
    matched = None
    if trial.matched_trial_id is not None:
        matched = place.store(trial, trial.matched_trial_id)
        if matched.status() != "completed":
            raise RapruneError(f"trial {trial.matched_trial_id}, which this one is matched to, did not complete")
    workload = Workload.of(trial, folder)
    kind = "in_process" if place.pool is None else "ray_pool"
    evaluator: Evaluator = EVALUATORS.build(kind, place.evaluators.model_dump(), workload, place.pool)
    if place.evaluators.engine == "exact":  # the naive one is the reference: it scores whatever it is asked for
        conditions = Conditions.of(workload, baseline, place.device_type)
        evaluator = Memoised(evaluator, Memo(Path(place.out) / "memo"), conditions)
    return TrialContext(
        evaluator,
        workload,
        baseline,
        store,
        matched,
        place.preset,
        place.num_evaluators,
        place.device,
        progress,
    )
