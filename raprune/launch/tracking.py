"""Feeds a study's trackers: each in a thread of its own, so that a slow or missing server never holds up the study.

What a tracker raises is told once and never ends anything. Only committed layers and ends are sent, so what waits for a
slow server stays small.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from raprune.launch import tracker_line
from raprune.launch.base import Passing, Watch
from raprune.launch.tracker_line import Line, Send
from raprune.plugins.trackers.base import TrackedStudy, TrackedTrial
from raprune.registry import TRACKERS
from raprune.results import TrialStore
from raprune.study import StudyPlan, TrialSpec
from raprune.study.seeds import digest
from raprune.system.store import bring_now, shown

AFTER_LAYER = ("pruning_ratio", "val_score_drop", "params", "macs")
RESULTS = (
    "val_score", "test_score", "guard_score", "val_score_drop", "test_score_drop", "guard_score_drop", "pruning_ratio",
    "params", "macs", "model_bytes", "latency_s", "num_candidates", "num_scored", "num_layers_decided", "wall_time_s",
)  # fmt: skip
"""Columns of a trial's row that are sent when it ends."""


@contextlib.contextmanager
def tracked(watch: Watch, plan: StudyPlan, out: Path) -> Iterator[Watch]:
    """``watch``, which also feeds the study's trackers, if it has any."""
    if not plan.spec.trackers:
        yield watch
        return
    folder = out.resolve()
    place = shown(folder)
    key = digest(plan.spec.name, place)
    study = TrackedStudy(plan.spec.name, plan.spec.description, folder, place, key, plan.text)
    lines = [
        Line(one.name, partial(TRACKERS.build, one.name, one.settings, study=study), watch.note)
        for one in plan.spec.trackers
    ]
    tracking = Tracking(watch, plan, out, lines)
    try:
        yield tracking
    finally:
        tracking.close()


class Tracking(Passing):
    """Sends trackers what concerns them."""

    def __init__(self, watch: Watch, plan: StudyPlan, out: Path, lines: Sequence[Line]) -> None:
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
        if "commits" in progress:
            metrics = {name: float(progress[name]) for name in AFTER_LAYER if progress.get(name) is not None}
            metrics |= {"layer_pruning_ratio": float(progress["committed_pruning_ratio"])}
            metrics["num_candidates_in_this_run"] = float(self._asked[trial_id])
            step = int(progress["commits"])
            self._send(trial_id, lambda tracker: tracker.layer(trial_id, step, metrics))

    def ended(self, trial_id: str, status: str, folder: Path) -> None:
        super().ended(trial_id, status, folder)
        if self._statuses.get(trial_id) == status:
            return
        self._begin(trial_id)
        self._open.discard(trial_id)
        self._statuses[trial_id] = status
        results = functools.cache(partial(_results, self._store(trial_id)))  # read once, in the trackers' threads
        self._send(trial_id, lambda tracker: tracker.ended(trial_id, status, results()))

    def _begin(self, trial_id: str) -> None:
        """Tell of a trial that was not open."""
        if trial_id in self._open or trial_id in self._statuses:
            return
        self._open.add(trial_id)
        trial = next(one for one in self._plan.trials if one.trial_id == trial_id)
        tracked_trial = _tracked_trial(trial, self._plan.axes[trial_id])
        for line in self._lines:
            line.open(trial_id, lambda tracker: tracker.trial(tracked_trial))

    def _send(self, trial_id: str, send: Send) -> None:
        for line in self._lines:
            line.put(trial_id, send)

    def close(self) -> None:
        """Send the end of the study; waits at most ``CLOSE_S`` seconds for what was not sent yet."""
        found = {self._status(trial.trial_id) for trial in self._plan.trials}
        status = next((one for one in ("failed", "stopped") if one in found), "completed")
        for line in self._lines:
            line.close(lambda tracker: tracker.close(status))
        end = time.monotonic() + tracker_line.CLOSE_S
        for line in self._lines:
            line.join(end - time.monotonic())

    def _status(self, trial_id: str) -> str:
        """How a trial ended, in this run or an earlier one; what a scheduler stopped has ended as it should."""
        status = self._statuses.get(trial_id)
        if status in (None, "stopped"):
            with contextlib.suppress(Exception):  # the study itself finds what is damaged
                store = self._store(trial_id)
                status = "completed" if store.has_ended() else status or store.status()
        return status or "stopped"

    def _store(self, trial_id: str) -> TrialStore:
        return TrialStore(self._out, self._plan.spec.name, trial_id)


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
        bring_now(store.folder)  # it may have ended on another machine
        row = store.trial_row() or {}
        return {name: float(row[name]) for name in RESULTS if row.get(name) is not None}
    return {}
