"""Feeds a study's trackers: each in a thread of its own, so that a slow or missing server never holds up the study.

What a tracker raises is told once and never ends anything. Only committed layers and ends are sent, so what waits for a
slow server stays small.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from raprune.errors import first_line
from raprune.launch.base import Passing, Watch
from raprune.plugins.trackers.base import TrackedStudy, TrackedTrial, Tracker
from raprune.registry import TRACKERS
from raprune.results import TrialStore
from raprune.study import StudyPlan, TrialSpec
from raprune.study.seeds import digest

CLOSE_S = 30.0
"""Seconds at the end of a study in which its trackers may send what still waits."""
AFTER_LAYER = ("pruning_ratio", "val_score_drop", "params", "macs")
RESULTS = (
    "val_score", "test_score", "guard_score", "val_score_drop", "test_score_drop", "guard_score_drop", "pruning_ratio",
    "params", "macs", "model_bytes", "latency_s", "num_candidates", "num_scored", "num_layers_decided", "wall_time_s",
)  # fmt: skip
"""Columns of a trial's row that are sent when it ends."""
SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL", re.IGNORECASE)
Send = Callable[[Tracker], None]


@contextlib.contextmanager
def tracked(watch: Watch, plan: StudyPlan, out: Path) -> Iterator[Watch]:
    """``watch``, which also feeds the study's trackers, if it has any."""
    if not plan.spec.trackers:
        yield watch
        return
    folder = out.resolve()
    key = digest(plan.spec.name, str(folder))
    study = TrackedStudy(plan.spec.name, plan.spec.description, folder, key, plan.text)
    lines = [
        _Line(one.name, TRACKERS.build(one.name, one.settings, study=study), watch.note) for one in plan.spec.trackers
    ]
    tracking = Tracking(watch, plan, out, lines)
    try:
        yield tracking
    finally:
        tracking.close()


class Tracking(Passing):
    """Sends trackers what concerns them."""

    def __init__(self, watch: Watch, plan: StudyPlan, out: Path, lines: Sequence[_Line]) -> None:
        super().__init__(watch)
        self._plan, self._out, self._lines = plan, out, lines
        self._open: set[str] = set()
        self._asked: dict[str, int] = {}
        self._statuses: dict[str, str] = {}

    def planned(self, plan: StudyPlan) -> None:
        self._plan = plan
        super().planned(plan)

    def told(self, trial_id: str, progress: dict[str, Any]) -> None:
        super().told(trial_id, progress)
        self._begin(trial_id)
        self._asked[trial_id] = self._asked.get(trial_id, 0) + progress.get("new_candidates", 0)
        if "committed_pruning_ratio" in progress:
            metrics = {name: float(progress[name]) for name in AFTER_LAYER if progress.get(name) is not None}
            metrics |= {"layer_pruning_ratio": float(progress["committed_pruning_ratio"])}
            metrics["num_candidates_in_this_run"] = float(self._asked[trial_id])
            step = int(progress["prune_step"])
            self._send(lambda tracker: tracker.layer(trial_id, step, metrics))

    def ended(self, trial_id: str, status: str, folder: Path) -> None:
        super().ended(trial_id, status, folder)
        if self._statuses.get(trial_id) == status:
            return
        self._begin(trial_id)
        self._open.discard(trial_id)
        self._statuses[trial_id] = status
        metrics = _results(TrialStore(self._out, self._plan.spec.name, trial_id))
        self._send(lambda tracker: tracker.ended(trial_id, status, metrics))

    def _begin(self, trial_id: str) -> None:
        """Tell of a trial that was not open."""
        if trial_id in self._open or trial_id in self._statuses:
            return
        self._open.add(trial_id)
        trial = next(one for one in self._plan.trials if one.trial_id == trial_id)
        tracked_trial = _tracked_trial(trial, self._plan.axes[trial_id])
        self._send(lambda tracker: tracker.trial(tracked_trial))

    def _send(self, send: Send) -> None:
        for line in self._lines:
            line.put(send)

    def close(self) -> None:
        """Send the end of the study; waits at most :data:`CLOSE_S` seconds for what was not sent yet."""
        found = {self._statuses.get(trial.trial_id, "stopped") for trial in self._plan.trials}
        found |= {"completed"} if not self._statuses else set()
        status = next((one for one in ("failed", "stopped") if one in found), "completed")
        for line in self._lines:
            line.put(lambda tracker: tracker.close(status))
            line.put(None)
        end = time.monotonic() + CLOSE_S
        for line in self._lines:
            line.join(end - time.monotonic())


class _Line:
    """The thread of one tracker, and what waits for it."""

    def __init__(self, name: str, tracker: Tracker, tell: Callable[[str], None]) -> None:
        self.name, self._tracker, self._tell = name, tracker, tell
        self._waiting: queue.SimpleQueue[Send | None] = queue.SimpleQueue()
        self._told = False
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"tracker-{name}")
        self._waiting.put(lambda tracker: tracker.begin())
        self._thread.start()

    def put(self, send: Send | None) -> None:
        self._waiting.put(send)

    def join(self, wait_s: float) -> None:
        self._thread.join(max(0.0, wait_s))
        if self._thread.is_alive():
            self._complain(f"did not take everything within {CLOSE_S:.0f} s of the study's end")

    def _run(self) -> None:
        while (send := self._waiting.get()) is not None:
            try:
                send(self._tracker)
            except Exception as error:  # whatever it is, the study goes on
                self._complain(f"cannot be written: {type(error).__name__}: {without_secrets(first_line(error))}")

    def _complain(self, what: str) -> None:
        if not self._told:
            self._told = True
            self._tell(f"tracker {self.name} {what}; the study goes on, and this is not told again")


def without_secrets(text: str) -> str:
    """``text`` without the values of environment variables that look secret, and without passwords in addresses."""
    for name, value in os.environ.items():
        if SECRET.search(name) and len(value) >= 4:
            text = text.replace(value, "***")
    return re.sub(r"(://)[^/@\s]+@", r"\1***@", text)


def _tracked_trial(trial: TrialSpec, axes: Mapping[str, str]) -> TrackedTrial:
    plugins = {
        kind: getattr(trial, kind).name for kind in ("model", "dataset", "method", "decision", "order", "reward")
    }
    bound = {"drop_bound": trial.drop_bound, "score_floor": trial.score_floor}
    own = {"trial_id": trial.trial_id, "study": trial.study, "seed": trial.seed, "fidelity": trial.fidelity_name}
    given = {name: str(value) for name, value in {**plugins, **bound, **own}.items() if value is not None}
    name = ", ".join(value if axis in ("method", "order") else f"{axis} {value}" for axis, value in axes.items())
    return TrackedTrial(trial.trial_id, name, given | dict(axes))


def _results(store: TrialStore) -> dict[str, float]:
    """The numbers of a trial's row; none where there is no readable one."""
    with contextlib.suppress(Exception):  # the study itself finds what is damaged
        row = store.trial_row() or {}
        return {name: float(row[name]) for name in RESULTS if row.get(name) is not None}
    return {}
