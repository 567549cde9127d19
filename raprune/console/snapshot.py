"""What a person sees of a study at one moment: written beside its tables while it runs, and read by others.

``progress.json`` is replaced about once a second. It adds nothing to the results: what it lacks, or where it is
missing, the tables say. Imports neither torch nor ray.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raprune.errors import FileError, RapruneError
from raprune.results import DOMINATED, FolderLock, read_json, read_manifest
from raprune.results.files import read_table
from raprune.system.store import reading, tables
from raprune.system.writing import replacing

FILE = "progress.json"
LOOK_AGAIN_S = 5.0
"""Seconds between looks at results on a store."""
ELSEWHERE_S = 60.0
"""A study on another machine, whose lock does not show here, runs if its file is at most so old."""
Status = Literal["waiting", "running", "completed", "failed", "stopped"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class TrialView(_Part):
    """One trial; ratios are shares from 0 to 1, drops points."""

    trial_id: str
    label: str
    status: Status
    layer: str = ""
    layers_done: int = Field(default=0, ge=0)
    num_layers: int = Field(default=0, ge=0)
    pruning_ratio: float | None = None
    score_drop: float | None = None
    updates: int = Field(default=0, ge=0)
    reward: float | None = None
    dominated: bool = False
    """Whether a scheduler stopped it."""


class Snapshot(_Part):
    """A study at the time ``updated``. Times of day are seconds since 1970."""

    study: str
    updated: float
    started: float
    phase: str = ""
    """What it does before trials run; empty while they do."""
    baselines: str = ""
    """What the baselines score on validation images."""
    evaluators: str = ""
    """Who computes the candidates, and where."""
    num_candidates: int = 0
    """Candidates asked for in this run."""
    rate: float | None = None
    """Candidates per second in this run."""
    left_s: float | None = None
    """Seconds left, as expected at ``updated``."""
    over: bool = False
    """Whether the run ended by itself, or by a signal that it noticed."""
    wanted: int | None = None
    """Trials that a search will have suggested at its end."""
    trials: list[TrialView]

    def count(self, status: str) -> int:
        """Trials of this status."""
        return sum(trial.status == status for trial in self.trials)

    @property
    def has_ended(self) -> bool:
        """Whether no trial is left to run."""
        short = self.wanted is not None and len(self.trials) < self.wanted and not self.over
        return not short and all(t.status in ("completed", "failed") or t.dominated for t in self.trials)


class Seen(_Part):
    """What was found in a results folder."""

    snapshot: Snapshot
    runs: bool
    """Whether a process runs the study."""
    command: str = ""
    """The command that runs or ran it, where it was one."""
    note: str = ""
    """What could not be read."""

    def state(self) -> str:
        """``running``, ``ended`` or ``not running``."""
        return "running" if self.runs else "ended" if self.snapshot.has_ended else "not running"


def write_snapshot(folder: Path, snapshot: Snapshot) -> None:
    """Replace ``progress.json``. A folder that cannot be written to costs the view, not the study."""
    with contextlib.suppress(OSError), replacing(folder / FILE, durable=False) as aside:
        aside.write_text(snapshot.model_dump_json(), encoding="utf-8", errors="backslashreplace")


def look(folder: Path) -> Seen:
    """What the study in ``folder`` does. Raises :class:`RapruneError` where there is no study, or it is unreadable."""
    reading(folder, tables, every_s=LOOK_AGAIN_S)
    if not os.path.lexists(folder / "manifest.json"):
        raise FileError(f"{folder} contains no study (no manifest.json); a study's folder is results/NAME")
    manifest = read_manifest(folder)
    note = ""
    try:
        snapshot = _read(folder, manifest) if os.path.lexists(folder / FILE) else _from_tables(folder, manifest)
    except RapruneError as error:
        note, snapshot = str(error), _from_tables(folder, manifest)
    return Seen(snapshot=snapshot, runs=_runs(folder), command=_command(manifest), note=note)


def _read(folder: Path, manifest: Mapping[str, Any]) -> Snapshot:
    """``progress.json``; of another version of the study, its tables instead."""
    file = folder / FILE
    found = read_json(file, {"trials": list}, "the tables are shown instead")
    try:
        snapshot = Snapshot.model_validate(found)
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise FileError(f"{file} is damaged at {where}; the tables are shown instead") from None
    if {trial.trial_id for trial in snapshot.trials} != set(manifest["trial_ids"]):
        return _from_tables(folder, manifest)
    return snapshot


def _from_tables(folder: Path, manifest: Mapping[str, Any]) -> Snapshot:
    """What the tables say, without times left; for studies older than ``progress.json``."""
    trials = [_trial_from_tables(folder, trial_id, manifest) for trial_id in manifest["trial_ids"]]
    changed = [_changed(folder / "trials" / trial_id) for trial_id in manifest["trial_ids"]]
    started = _changed(folder / "manifest.json")
    return Snapshot(study=manifest["study"], updated=max([started, *changed]), started=started, trials=trials)


def _trial_from_tables(folder: Path, trial_id: str, manifest: Mapping[str, Any]) -> TrialView:
    from raprune.console.labels import trial_label

    place = folder / "trials" / trial_id
    done = len(list(place.glob("layers-*.parquet")))
    found: dict[str, Any] = {"status": "running" if done else "waiting", "layers_done": done, "num_layers": done}
    file = place / "trial.parquet"
    if os.path.lexists(file):
        columns = ["status", "stopped_by", "pruning_ratio", "val_score_drop", "num_layers"]
        row = read_table(file, "trial", trial_id, columns).to_pylist()[0]
        found |= {"status": row["status"], "pruning_ratio": row["pruning_ratio"], "score_drop": row["val_score_drop"]}
        found["dominated"] = row["stopped_by"] == DOMINATED
        found["num_layers"] = row["num_layers"] or done
    return TrialView(trial_id=trial_id, label=trial_label(manifest["axes"].get(trial_id, {})) or trial_id, **found)


def _changed(file: Path) -> float:
    try:
        return file.stat().st_mtime
    except OSError:
        return 0.0


def _runs(folder: Path) -> bool:
    """Whether a process holds the folder; one on another machine does if it writes."""
    lock = FolderLock(folder)
    if lock.is_held():
        return True
    return lock.is_of_another_machine() and time.time() - _changed(folder / FILE) < ELSEWHERE_S


def _command(manifest: Mapping[str, Any]) -> str:
    import shlex

    words = manifest.get("command") or []
    if not words or Path(words[0]).name != "raprune":
        return ""
    return shlex.join(["raprune", *words[1:]])
