"""Reading a study's tables as data frames."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as compute

from raprune.errors import DamagedError, ResultsError
from raprune.results.files import read_json, read_table
from raprune.results.schemas import SCHEMA_VERSION, SCHEMAS
from raprune.results.sound import names_a_folder
from raprune.results.timeline import Timeline
from raprune.system import store


@dataclass(frozen=True)
class Tables:
    """The eight tables of a study, its present trials only, and its manifest."""

    trials: pd.DataFrame
    layers: pd.DataFrame
    updates: pd.DataFrame
    candidates: pd.DataFrame
    joint: pd.DataFrame
    low_rank: pd.DataFrame
    pictures: pd.DataFrame
    speed: pd.DataFrame
    manifest: dict[str, Any]
    timeline: pd.DataFrame = field(default_factory=lambda: Timeline("").frame())
    """Which evaluator scored when, from the candidates: see :meth:`raprune.results.timeline.Timeline.frame`."""


def read_study(
    folder: Path | str,
    tables: Collection[str] = tuple(SCHEMAS),
    sums: Mapping[str, Sequence[str]] = MappingProxyType({}),
    damaged: dict[str, str] | None = None,
) -> Tables:
    """Read the tables of the study in ``folder``: the trials of the study as it now stands, in its order.

    ``folder`` may be an address, such as ``s3://bucket/study``. Only the tables named in ``tables`` are read, the
    others are empty. Of a table in ``sums``, such as ``{"candidates": ["score_s"]}``, each file becomes one row: study,
    trial_id and the sums of these columns; candidates that are summed also give the timeline of evaluators. Trials that
    an earlier version of the study file left behind stay on disk and are not read. A trial with a damaged table is left
    out where ``damaged`` is given, which then says what is wrong with it, by its id. Otherwise, and where the manifest
    is damaged, raises :class:`DamagedError`. Raises :class:`ResultsError` where
    there is no study or its schema is newer than this raprune.
    """
    folder = store.reading(store.given_results(folder), store.tables, every_s=1.0)
    file = folder / "manifest.json"
    if not os.path.lexists(file):
        raise ResultsError(f"{folder} contains no study (no manifest.json)")
    manifest = read_manifest(folder)
    ids: list[str] = manifest["trial_ids"]
    timeline = Timeline(manifest["study"])
    frames = {
        table: _read(folder, ids if table in tables else [], table, sums.get(table), timeline, damaged)
        for table in SCHEMAS
    }
    times = timeline.frame()
    if damaged:
        manifest = manifest | {"trial_ids": [name for name in ids if name not in damaged]}
        frames = {table: frame[~frame["trial_id"].isin(list(damaged))] for table, frame in frames.items()}
        times = times[~times["trial_id"].isin(list(damaged))] if "trial_id" in times else times
    return Tables(trials=frames.pop("trial"), manifest=manifest, timeline=times, **frames)


def _read(
    folder: Path,
    trial_ids: list[str],
    table: str,
    sums: Sequence[str] | None,
    timeline: Timeline,
    damaged: dict[str, str] | None,
) -> pd.DataFrame:
    """Of all trials: ``<table>.parquet``, or ``<table>-0.parquet``, ``<table>-1.parquet`` ..."""
    columns = None if sums is None else ["study", "trial_id", *sums]
    read = columns and list(dict.fromkeys([*columns, *timeline.columns_of(table)]))
    parts = [SCHEMAS[table].empty_table().select(columns or SCHEMAS[table].names)]
    for trial_id in trial_ids:
        place = folder / "trials" / trial_id
        files = [*place.glob(f"{table}.parquet"), *sorted(place.glob(f"{table}-*.parquet"), key=_number)]
        for file in files:
            try:
                part = read_table(file, table, trial_id, read)
            except DamagedError as error:
                if damaged is None:
                    raise
                damaged.setdefault(trial_id, str(error))
                continue
            if sums is not None:
                timeline.add(part)
                part = _summed(part.select(columns), sums)
            parts.append(part)
    frame: pd.DataFrame = pa.concat_tables(parts).to_pandas()
    return frame


def _summed(rows: pa.Table, sums: Sequence[str]) -> pa.Table:
    """One row with the sums of some columns, none without rows; nothing of the others stays in memory."""
    found: dict[str, Any] = {name: rows[name][0].as_py() for name in ("study", "trial_id")} if len(rows) else {}
    found |= {name: compute.sum(rows[name]).as_py() for name in sums}
    return pa.Table.from_pylist([found] * bool(len(rows)), rows.schema)


def place_of(folder: Path) -> tuple[Path, str | None]:
    """The study's folder that ``folder`` is or is in, and the id of the trial whose folder it is, if any.

    Raises :class:`ResultsError` where it is neither.
    """
    absolute = folder.resolve()
    for study_dir, trial_id in ((folder, None), (absolute.parent.parent, absolute.name)):
        is_place = trial_id is None or absolute.parent.name == "trials"
        if folder.is_dir() and is_place and os.path.lexists(study_dir / "manifest.json"):
            if trial_id is not None and trial_id not in read_manifest(study_dir)["trial_ids"]:
                raise ResultsError(f"{folder}: the study in {study_dir} has no trial {trial_id} now")
            return study_dir, trial_id
    raise ResultsError(f"{folder} is neither a study's folder (results/NAME) nor a trial's (results/NAME/trials/ID)")


def read_manifest(folder: Path) -> dict[str, Any]:
    """The checked content of ``manifest.json`` in ``folder``.

    Raises :class:`ResultsError` where the file is damaged, or of a schema newer than this raprune's.
    """
    file = folder / "manifest.json"
    way_on = "running the study again in this folder rewrites it"
    manifest = read_json(file, {"schema_version": int, "study": str, "trial_ids": list, "axes": dict}, way_on)
    if (version := manifest["schema_version"]) > SCHEMA_VERSION:
        raise ResultsError(f"{folder} has schema version {version}; this raprune reads up to {SCHEMA_VERSION}")
    problem = next((rule for rule, is_broken in _UNSOUND.items() if is_broken(manifest)), None)
    if problem is not None:
        raise DamagedError(f"{file} is damaged: {problem}; {way_on}")
    return manifest


_UNSOUND: dict[str, Callable[[dict[str, Any]], bool]] = {
    "trial_ids must name folders": lambda found: not all(names_a_folder(name) for name in found["trial_ids"]),
    "trial_ids names a trial twice": lambda found: len(set(found["trial_ids"])) < len(found["trial_ids"]),
    "axes must map trials and axes to texts": lambda found: not all(map(_are_texts, found["axes"].values())),
    "packages must map names to texts": lambda found: not _are_texts(found.get("packages", {})),
    "command must be a list of texts": lambda found: not _are_listed(found.get("command", [])),
    "description, preset, commit, python and raprune must be texts": lambda found: any(
        not isinstance(found.get(key), str | None) for key in ("description", "preset", "commit", "python", "raprune")
    ),
}


def _are_texts(found: object) -> bool:
    return isinstance(found, dict) and all(isinstance(value, str) for value in found.values())


def _are_listed(found: object) -> bool:
    return isinstance(found, list) and all(isinstance(value, str) for value in found)


def _number(file: Path) -> float:
    """Place among the files of a trial's table; a layer that was cut short comes last."""
    tail = file.stem.rpartition("-")[2]
    return int(tail) if tail.isdigit() else math.inf
