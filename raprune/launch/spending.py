"""The driver's side of a budget: how long a study's runs took, what its trials requested, and what is left to run."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from raprune.errors import DamagedError, FileError
from raprune.results import TrialStore, read_json, set_aside, write_json
from raprune.study import StudyPlan, TrialSpec
from raprune.trial.budget import Account
from raprune.trial.snapshots import num_asked

WRITE_EVERY_S = 10.0
"""Seconds between writes: a killed run loses at most this much of its time."""


class RunClock:
    """Seconds that all runs of a study took, kept in its folder while it is used as a context manager."""

    def __init__(self, out: Path, tell: Callable[[str], None] = lambda _: None) -> None:
        self.file = out / "time.json"
        self.earlier_s = self._read(tell)
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._writer = threading.Thread(target=self._write_regularly, daemon=True)

    def _read(self, tell: Callable[[str], None]) -> float:
        """Seconds of the earlier runs; 0 for a damaged file, which is reported to ``tell``."""
        if not os.path.lexists(self.file):
            return 0.0
        try:
            earlier_s = float(read_json(self.file, {"run_s": (int, float)})["run_s"])
            if earlier_s >= 0:
                return earlier_s
        except DamagedError:
            pass
        tell(f"{self.file} is damaged: moved to {set_aside(self.file).name}; the study's clock starts again from 0")
        return 0.0

    @property
    def used_s(self) -> float:
        """Seconds of the earlier runs and of this one so far."""
        return self.earlier_s + time.monotonic() - self._started

    def __enter__(self) -> RunClock:
        self._writer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._writer.join()
        self._write()

    def _write_regularly(self) -> None:
        while not self._ended.wait(WRITE_EVERY_S):
            with contextlib.suppress(FileError):  # reported at the end, unless it was temporary
                self._write()

    def _write(self) -> None:
        if self.file.parent.is_dir():  # else it was removed, and is not recreated for a clock
            write_json(self.file, {"run_s": self.used_s})


def open_account(plan: StudyPlan, stores: Mapping[str, TrialStore], clock: RunClock) -> Account | None:
    """An account with what the study has spent, according to its folder; ``None`` for a study without a budget."""
    if plan.spec.budget is None:
        return None
    asked = {trial.trial_id: asked_by(stores[trial.trial_id]) for trial in plan.trials}
    return Account(plan.spec.budget, clock.used_s, asked)


def asked_by(store: TrialStore) -> int:
    """Candidates that a trial has requested; 0 where its files are damaged, at which the trial will fail."""
    try:
        return num_asked(store)
    except FileError:
        return 0


def is_left(plan: StudyPlan, store: TrialStore) -> bool:
    """Whether a trial is to run: what a scheduler stopped has ended while the study has one, and goes on without it."""
    return not store.has_ended() if plan.spec.scheduler is not None else store.status() != "completed"


def left_to_run(plan: StudyPlan, stores: Mapping[str, TrialStore], account: Account | None) -> Sequence[TrialSpec]:
    """The trials that have not ended; once the budget is spent, only those of them that have begun."""
    todo = [trial for trial in plan.trials if is_left(plan, stores[trial.trial_id])]
    if account is None or not account.is_spent:
        return todo
    return [trial for trial in todo if _lacks_its_end(stores[trial.trial_id])]


def _lacks_its_end(store: TrialStore) -> bool:
    """Whether a trial was killed or interrupted: it has layers, but neither scores nor an error."""
    row = store.trial_row()
    return store.num_decided() > 0 and (row is None or (row["status"] == "stopped" and row["val_score"] is None))
