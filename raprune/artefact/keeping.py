"""``keep_models``: which trials of a study that has ended keep their network on disk.

Trials are compared with those of the same model and data set, settings included. What a trial is compared by:

- ``best``: the trial with the fewest multiply-adds among those that have a drop bound and are within it on validation;
  on a tie, the one that lost less on validation, then the first in the study. In a sweep over several bounds it is
  usually a trial of the loosest one. Matched trials have no bound and do not count, since their layers were cut to a
  given size whatever it cost.
- ``front``: every trial that no other beats, by validation or by test: a trial beats another if it has no more
  multiply-adds and lost no more, and is strictly better in one of the two. Matched trials count here, since networks
  are compared by what was measured.
- ``all``: every trial.

Rows are never removed, and a trial whose network was removed is not run again. A study that was interrupted, or stopped
by its budget, removes none, because not all of its trials have ended.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from raprune.results import TrialStore, read_json, write_json
from raprune.system.store import removed

MARK = "model_removed.json"
"""In a trial's folder: which setting removed its network."""
BY_SPLIT = ("val_score_drop", "test_score_drop")

Row = Mapping[str, Any]


def thin_out(stores: Sequence[TrialStore], keep_models: str) -> list[str]:
    """Remove the networks that ``keep_models`` does not keep; returns the ids of the trials that lost theirs now."""
    rows = [(store, row) for store in stores if (row := store.trial_row()) is not None]
    keeps = kept([row for _, row in rows], keep_models)
    gone = []
    for store, row in rows:
        model = store.folder / "model"
        if row["trial_id"] not in keeps and model.is_dir():
            write_json(store.folder / MARK, {"keep_models": keep_models})
            _remove(model)
            gone.append(str(row["trial_id"]))
    return gone


def kept(rows: Sequence[Row], keep_models: str) -> set[str]:
    """The ids of the trials in ``rows``, in the order of the study, whose network stays."""
    if keep_models == "all":
        return {row["trial_id"] for row in rows}
    choose = _best if keep_models == "best" else _front
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if row["macs"] is not None:
            key = tuple(row[name] for name in ("model", "model_settings", "dataset", "dataset_settings"))
            groups.setdefault(key, []).append(row)
    return {row["trial_id"] for group in groups.values() for row in choose(group)}


def removed_by(folder: Path) -> str | None:
    """The setting that removed the network of the trial in ``folder``; ``None`` where it is there, or never was."""
    mark = folder / MARK
    if (folder / "model").is_dir() or not mark.is_file():
        return None
    way_on = "delete it: the trial has no network"
    return str(read_json(mark, {"keep_models": str}, way_on)["keep_models"])


def _remove(model: Path) -> None:
    """Remove the folder atomically, as seen by readers: by renaming it first."""
    aside = model.with_name(f".{model.name}")
    shutil.rmtree(aside, ignore_errors=True)  # of a process that was killed meanwhile
    model.rename(aside)
    removed(model)
    shutil.rmtree(aside)


def _best(rows: Sequence[Row]) -> Iterable[Row]:
    within = [
        row for row in rows if row["drop_bound"] is not None and row["val_score_drop"] <= row["drop_bound"] + 1e-9
    ]
    return [min(within, key=lambda row: (row["macs"], row["val_score_drop"]))] if within else []


def _front(rows: Sequence[Row]) -> Iterable[Row]:
    for split in BY_SPLIT:
        known = [row for row in rows if row[split] is not None]
        yield from (row for row in known if not any(_beats(other, row, split) for other in known))


def _beats(one: Row, other: Row, split: str) -> bool:
    no_worse = one["macs"] <= other["macs"] and one[split] <= other[split]
    return bool(no_worse and (one["macs"] < other["macs"] or one[split] < other[split]))
