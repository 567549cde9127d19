"""Tables of what lies in a folder of results: its studies, or one study's trials."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from rich.table import Table

from raprune.results.shelf import StudyEntry, TrialEntry
from raprune.system.store import shown

UNITS = ("B", "kB", "MB", "GB", "TB")


def studies_table(studies: Sequence[StudyEntry]) -> Table:
    """One row a study."""
    table = _table("study", "trials", "best within its bound", "size", "changed", right=("size",))
    for entry in studies:
        name = f"{_place(entry)} (rehearsal)" if entry.rehearses else _place(entry)
        state = "damaged" if not entry.trials and entry.problems else counts(entry)
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(entry.changed_s)) if entry.changed_s else ""
        table.add_row(name, state, _best(entry.best), size(entry.num_bytes), when)
    return table


def trials_table(entry: StudyEntry) -> Table:
    """One row a trial of a study: its id, the settings in which trials differ, and its outcome."""
    axes = list(dict.fromkeys(axis for trial in entry.trials for axis in trial.settings))
    others = ("status", "pruned", "MACs less", "val drop", "test drop", "network")
    table = _table("trial", *axes, *others, right=others[1:5])
    for trial in entry.trials:
        row = trial.row
        table.add_row(
            trial.trial_id,
            *(trial.settings.get(axis, "") for axis in axes),
            trial.outcome,
            share(row.get("pruning_ratio")),
            share(trial.macs_removed),
            points(row.get("val_score_drop")),
            points(row.get("test_score_drop")),
            "kept" if trial.has_network else "",
        )
    return table


def counts(entry: StudyEntry) -> str:
    """``8 of 10 completed, 1 failed; running``."""
    found = Counter(trial.outcome for trial in entry.trials)
    parts = [f"{found['completed']} of {len(entry.trials)} completed"]
    parts += [f"{number} {status}" for status, number in sorted(found.items()) if status != "completed"]
    return ", ".join(parts) + ("; running" if entry.running else "")


def studies_data(studies: Sequence[StudyEntry]) -> list[dict[str, Any]]:
    """The studies as plain data: bytes, seconds since 1970, shares from 0 to 1, drops in points."""
    return [study_data(entry) for entry in studies]


def study_data(entry: StudyEntry, *, with_trials: bool = False) -> dict[str, Any]:
    """A study as plain data, on request with its trials."""
    found: dict[str, Any] = {
        "folder": shown(entry.folder),
        "study": entry.name,
        "rehearses": entry.rehearses,
        "running": entry.running,
        "num_planned": len(entry.trials),
        "num_trials": dict(sorted(entry.statuses.items())),
        "best": None if entry.best is None else trial_data(entry.best),
        "num_bytes": entry.num_bytes,
        "changed_s": entry.changed_s or None,
        "problems": list(entry.problems),
    }
    return found | ({"trials": [trial_data(trial) for trial in entry.trials]} if with_trials else {})


def trial_data(trial: TrialEntry) -> dict[str, Any]:
    """A trial as plain data."""
    columns = ("pruning_ratio", "drop_bound", "val_score_drop", "test_score_drop", "params", "macs", "stopped_by")
    return {
        "trial_id": trial.trial_id,
        "folder": shown(trial.folder),
        "settings": dict(trial.settings),
        "status": trial.status,
        "has_network": trial.has_network,
        "macs_removed": trial.macs_removed,
        **{name: trial.row.get(name) for name in columns},
    }


def size(num_bytes: float) -> str:
    """``512 B``, ``1.5 MB``: decimal units."""
    for unit in UNITS[:-1]:
        if num_bytes < 999.5:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} {UNITS[-1]}"


def share(value: float | None) -> str:
    """A share as percent; empty where it is unknown."""
    return "" if value is None else f"{value:.1%}"


def points(value: float | None) -> str:
    """A drop in points; empty where it is unknown."""
    return "" if value is None else f"{value:+.1f}"


def _best(trial: TrialEntry | None) -> str:
    if trial is None:
        return ""
    kept = f"{share(trial.row.get('pruning_ratio'))} pruned, {share(trial.macs_removed)} MACs less"
    return f"{kept}, drop {points(trial.row.get('val_score_drop'))} of {trial.row['drop_bound']:g}"


def _place(entry: StudyEntry) -> str:
    """The folder's name, and the study's where it is another."""
    folder = PurePosixPath(shown(Path(entry.folder).resolve()).partition("?")[0]).name
    return folder if folder in (entry.name, f"{entry.name}-rehearsal") else f"{folder} ({entry.name})"


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0), pad_edge=False)
    for name in columns:
        table.add_column(name, no_wrap=True, justify="right" if name in right else "left")
    return table
