"""The driver's side of a budget: how long the runs of a study took, what its trials asked for, what is left to run."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from raprune.budget import Account
from raprune.results import TrialStore, write_json
from raprune.snapshots import num_asked
from raprune.study import StudyPlan, TrialSpec

WRITE_EVERY_S = 10.0
"""A run that is killed forgets at most this much of its time."""


class RunClock:
    """Seconds that all runs of a study took, kept in its folder while it is used as a context manager."""

    def __init__(self, out: Path) -> None:
        self.file = out / "time.json"
        self.earlier_s = float(json.loads(self.file.read_text())["run_s"]) if self.file.is_file() else 0.0
        self._started = time.monotonic()
        self._ended = threading.Event()
        self._writer = threading.Thread(target=self._write_regularly, daemon=True)

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
            self._write()

    def _write(self) -> None:
        write_json(self.file, {"run_s": self.used_s})


def open_account(plan: StudyPlan, stores: Mapping[str, TrialStore], clock: RunClock) -> Account | None:
    """What the study has spent, as its folder says; ``None`` for a study without a budget."""
    if plan.spec.budget is None:
        return None
    asked = {trial.trial_id: num_asked(stores[trial.trial_id]) for trial in plan.trials}
    return Account(plan.spec.budget, clock.used_s, asked)


def left_to_run(plan: StudyPlan, stores: Mapping[str, TrialStore], account: Account | None) -> Sequence[TrialSpec]:
    """The trials that are not completed; once the budget is spent, those alone that have begun and lack their end."""
    todo = [trial for trial in plan.trials if stores[trial.trial_id].status() != "completed"]
    if account is None or not account.is_spent:
        return todo
    return [trial for trial in todo if _lacks_its_end(stores[trial.trial_id])]


def _lacks_its_end(store: TrialStore) -> bool:
    """A trial that was killed or interrupted: it has layers, and neither scores nor an error."""
    row = store.trial_row()
    return store.num_decided() > 0 and (row is None or (row["status"] == "stopped" and row["val_score"] is None))
