"""Reading a study's tables as data frames."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from raprune.errors import ResultsError
from raprune.results.schemas import SCHEMA_VERSION, SCHEMAS


@dataclass(frozen=True)
class Tables:
    """The seven tables of a study, its present trials only, and its manifest."""

    trials: pd.DataFrame
    layers: pd.DataFrame
    updates: pd.DataFrame
    candidates: pd.DataFrame
    low_rank: pd.DataFrame
    pictures: pd.DataFrame
    speed: pd.DataFrame
    manifest: dict[str, Any]


def read_study(folder: Path) -> Tables:
    """Read the tables of the study in ``folder``: the trials of the study as it now stands, in its order.

    Trials that an earlier version of the study file left behind stay on disk and are not read. Raises
    :class:`ResultsError` where there is no study or its schema is newer than this raprune.
    """
    file = folder / "manifest.json"
    if not file.is_file():
        raise ResultsError(f"{folder} holds no study (no manifest.json)")
    try:
        manifest: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        version = int(manifest["schema_version"])
    except (ValueError, KeyError, TypeError) as error:
        raise ResultsError(f"{file} is damaged: {type(error).__name__}: {error}") from None
    if version > SCHEMA_VERSION:
        raise ResultsError(f"{folder} has schema version {version}; this raprune reads up to {SCHEMA_VERSION}")
    ids: list[str] = manifest["trial_ids"]
    frames = {name: _read(folder, ids, pattern, name) for name, pattern in _PATTERNS.items()}
    return Tables(
        frames["trial"], frames["layers"], frames["updates"], frames["candidates"], frames["low_rank"],
        frames["pictures"], frames["speed"], manifest,
    )  # fmt: skip


_PATTERNS = {
    "trial": "trial.parquet",
    "layers": "layers-*.parquet",
    "updates": "updates-*.parquet",
    "candidates": "candidates-*.parquet",
    "low_rank": "low_rank-*.parquet",
    "pictures": "pictures.parquet",
    "speed": "speed.parquet",
}


def _read(folder: Path, trial_ids: list[str], pattern: str, table: str) -> pd.DataFrame:
    schema = SCHEMAS[table]
    parts = [schema.empty_table()]
    for trial_id in trial_ids:
        files = sorted((folder / "trials" / trial_id).glob(pattern), key=_number)
        parts += [_widen(pq.read_table(file), schema) for file in files]
    frame: pd.DataFrame = pa.concat_tables(parts).to_pandas()
    return frame


def _number(file: Path) -> float:
    """Place among the files of a trial's table: that of a layer which was cut short is the last."""
    tail = file.stem.rpartition("-")[2]
    return int(tail) if tail.isdigit() else math.inf


def _widen(found: pa.Table, schema: pa.Schema) -> pa.Table:
    """A table of an older schema with the columns it lacks as nulls."""
    columns = [
        found[field.name].cast(field.type) if field.name in found.column_names else pa.nulls(len(found), field.type)
        for field in schema
    ]
    return pa.table(columns, schema=schema)
