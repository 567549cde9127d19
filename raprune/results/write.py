"""Writing: aside, then renamed. A file with its final name is complete."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from raprune.errors import ResultsError
from raprune.results.schemas import SCHEMAS

Row = Mapping[str, Any]
PROVISIONAL = "provisional"
"""Stands for the number of a layer whose decision a budget cut short: the files of it go when the trial goes on."""


def finish(aside: Path, file: Path) -> None:
    """Give a file written aside its final name, once its bytes are on the disk: complete even after a power cut."""
    with aside.open("rb") as written:
        os.fsync(written.fileno())
    os.replace(aside, file)


def write_text(file: Path, text: str) -> None:
    """Write a text file whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    finish(aside, file)


def write_json(file: Path, data: Any) -> None:
    """Write a JSON file whole or not at all."""
    write_text(file, json.dumps(data, indent=2, allow_nan=False) + "\n")


def write_table(file: Path, table: str, rows: Sequence[Row]) -> None:
    """Write rows as Parquet of the table's schema; a missing or unknown column is a programmer's error."""
    schema = SCHEMAS[table]
    for row in rows:
        if set(row) != set(schema.names):
            raise AssertionError(f"{table}: columns differ from the schema: {sorted(set(row) ^ set(schema.names))}")
    file.parent.mkdir(parents=True, exist_ok=True)
    aside = file.with_name(f".{file.name}.{os.getpid()}")
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows], schema=schema), aside)
    finish(aside, file)


class TrialStore:
    """One trial's folder: ``trials/<trial_id>/``."""

    def __init__(self, study_dir: Path, study: str, trial_id: str) -> None:
        self.folder = study_dir / "trials" / trial_id
        self._keys = {"study": study, "trial_id": trial_id}

    def status(self) -> str | None:
        """``completed``, ``failed``, ``stopped``, or ``None`` before its first end."""
        row = self.trial_row()
        return str(row["status"]) if row else None

    def trial_row(self) -> dict[str, Any] | None:
        """The trial's row, if it has ended once."""
        file = self.folder / "trial.parquet"
        return pq.read_table(file).to_pylist()[0] if file.is_file() else None

    def forget_row(self) -> None:
        """Take away the row of a trial that is to run again, and a layer that was cut short; committed ones stay."""
        (self.folder / "trial.parquet").unlink(missing_ok=True)
        for table in ("layers", "updates", "candidates"):
            (self.folder / f"{table}-{PROVISIONAL}.parquet").unlink(missing_ok=True)

    def num_committed(self) -> int:
        """Layers committed so far: the length of the unbroken row of ``layers-<k>.parquet``."""
        return self._unbroken("layers")

    def _unbroken(self, table: str) -> int:
        """How many of ``<table>-0.parquet``, ``<table>-1.parquet`` ... are there before the first that is not."""
        found = {int(m[1]) for f in self.folder.glob(f"{table}-*.parquet") if (m := re.search(r"-(\d+)\.", f.name))}
        number = 0
        while number in found:
            number += 1
        return number

    def num_decided(self) -> int:
        """The committed layers, and the one that a budget cut short."""
        return self.num_committed() + (self.folder / f"layers-{PROVISIONAL}.parquet").is_file()

    def layer_rows(self) -> list[dict[str, Any]]:
        """The rows of the committed layers, in the order in which they were decided."""
        files = [self.folder / f"layers-{k}.parquet" for k in range(self.num_committed())]
        return [row for file in files for row in pq.read_table(file).to_pylist()]

    def candidate_counts(self) -> tuple[int, int]:
        """Candidates asked for and candidates scored, over the decided layers."""
        asked = scored = 0
        for k in (*range(self.num_committed()), *[PROVISIONAL] * (self.num_decided() - self.num_committed())):
            memo = pq.read_table(self.folder / f"candidates-{k}.parquet", columns=["from_memo"])["from_memo"]
            asked += len(memo)
            scored += len(memo) - sum(bool(m) for m in memo.to_pylist())
        return asked, scored

    def write_layer(self, step: int | str, layer: Row, updates: Sequence[Row], candidates: Sequence[Row]) -> None:
        """Commit one decided layer (or, as ``PROVISIONAL``, keep one that was cut short); its ``layers`` file, written
        last, is what says that it is complete."""
        self._write(f"updates-{step}.parquet", "updates", updates)
        self._write(f"candidates-{step}.parquet", "candidates", candidates)
        self._write(f"layers-{step}.parquet", "layers", [layer])

    def low_rank_rows(self) -> list[dict[str, Any]]:
        """The rows of the layers that the low-rank step has been through, in its order."""
        files = [self.folder / f"low_rank-{k}.parquet" for k in range(self._unbroken("low_rank"))]
        return [row for file in files for row in pq.read_table(file).to_pylist()]

    def write_low_rank(self, step: int, row: Row) -> None:
        """What the low-rank step did with a layer; written once that is on disk."""
        self._write(f"low_rank-{step}.parquet", "low_rank", [row])

    def write_pictures(self, rows: Sequence[Row]) -> None:
        """What the trial's network gives for a few images, beside the baseline's."""
        self._write("pictures.parquet", "pictures", rows)

    def write_speed(self, rows: Sequence[Row]) -> None:
        """How fast the trial's network is beside the baseline; replaces what was measured before."""
        self._write("speed.parquet", "speed", rows)

    def write_trial(self, row: Row) -> None:
        """The trial's row: the last file of a trial."""
        self._write("trial.parquet", "trial", [row])

    def _write(self, name: str, table: str, rows: Sequence[Row]) -> None:
        write_table(self.folder / name, table, [self._keys | dict(row) for row in rows])


class FolderLock:
    """Keeps two studies off one folder; dies with its process."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / ".lock"

    def __enter__(self) -> FolderLock:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self._handle = self.file.open("a+")
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._handle.seek(0)
            owner = self._handle.read().strip() or "another process"
            self._handle.close()
            folder = self.file.parent
            raise ResultsError(f"{folder} is in use by {owner}; choose another folder with --out") from None
        self._handle.truncate(0)
        self._handle.write(f"process {os.getpid()} on {os.uname().nodename}")
        self._handle.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.close()
