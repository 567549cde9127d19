"""What a study writes: the rows of its trials, and the lock on its folder."""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa

from raprune.errors import DamagedError, FileError, ResultsError, naming
from raprune.results.files import read_table, set_aside, write_parquet
from raprune.results.schemas import SCHEMAS
from raprune.system.store import publish, removed, seen

Row = Mapping[str, Any]
DOMINATED = "dominated"
"""What ``stopped_by`` says of a trial that a scheduler stopped, because others do better."""
PROVISIONAL = "provisional"
"""Stands for the number of a layer whose decision a budget cut short; its files go when the trial resumes."""


def write_table(file: Path, table: str, rows: Sequence[Row]) -> None:
    """Write rows as Parquet of the table's schema; a missing or unknown column is a programmer's error."""
    schema = SCHEMAS[table]
    for row in rows:
        if set(row) != set(schema.names):
            raise AssertionError(f"{table}: columns differ from the schema: {sorted(set(row) ^ set(schema.names))}")
    write_parquet(file, pa.Table.from_pylist([dict(row) for row in rows], schema=schema))


class TrialStore:
    """One trial's folder: ``trials/<trial_id>/``."""

    def __init__(self, study_dir: Path, study: str, trial_id: str) -> None:
        self.folder = study_dir / "trials" / trial_id
        self.trial_id = trial_id
        self._keys = {"study": study, "trial_id": trial_id}
        self._manifest = study_dir / "manifest.json"
        self._has_manifest = self._manifest.is_file()

    def status(self) -> str | None:
        """``completed``, ``failed``, ``stopped``, or ``None`` before its first end."""
        row = self.trial_row()
        return str(row["status"]) if row else None

    def is_dominated(self) -> bool:
        """Whether a scheduler stopped it."""
        row = self.trial_row()
        return row is not None and row["stopped_by"] == DOMINATED

    def has_ended(self) -> bool:
        """Whether it is completed, or was stopped by a scheduler."""
        return self.status() == "completed" or self.is_dominated()

    def trial_row(self) -> dict[str, Any] | None:
        """The trial's row, if it has ended once."""
        file = self.folder / "trial.parquet"
        return self._rows(file.name, "trial")[0] if os.path.lexists(file) else None

    def check(self) -> None:
        """Raise :class:`DamagedError` for the first table of a decided layer that is not as it was written."""
        for file in sorted(self.folder.glob("*-*.parquet")):
            table = file.name.partition("-")[0]
            if table in SCHEMAS:
                self._rows(file.name, table)

    def set_damaged_row_aside(self) -> Path | None:
        """Rename an unreadable row, so that the trial can finish again; returns the new path, or ``None``."""
        try:
            self.trial_row()
        except DamagedError:
            return set_aside(self.folder / "trial.parquet")
        return None

    def forget_row(self) -> None:
        """Remove the row of a trial that is to run again, and a layer that was cut short; committed layers stay."""
        cut_short = [f"{table}-{PROVISIONAL}.parquet" for table in ("layers", "updates", "candidates", "joint")]
        for name in ("trial.parquet", *cut_short):
            (self.folder / name).unlink(missing_ok=True)
            removed(self.folder / name)

    def forget_after(self, table: str) -> None:
        """Remove the rows of what followed the ``layers`` or the ``joint`` passes of a trial, where not all are here.

        A store may have these and lack what they followed: see :mod:`raprune.system.store.mirror`.
        """
        for later in ("joint", "low_rank") if table == "layers" else ("low_rank",):
            for file in self.folder.glob(f"{later}-*.parquet"):
                file.unlink(missing_ok=True)
                removed(file)

    def num_committed(self) -> int:
        """Layers committed so far: the length of the unbroken sequence of ``layers-<k>.parquet``."""
        return self._unbroken("layers")

    def _unbroken(self, table: str) -> int:
        """How many of ``<table>-0.parquet``, ``<table>-1.parquet`` ... are there before the first that is not."""
        found = {int(m[1]) for f in self.folder.glob(f"{table}-*.parquet") if (m := re.search(r"-(\d+)\.", f.name))}
        return next(number for number in itertools.count() if number not in found)

    def num_decided(self) -> int:
        """The committed layers, and the one that a budget cut short."""
        return self.num_committed() + (self.folder / f"layers-{PROVISIONAL}.parquet").is_file()

    def num_commits(self) -> int:
        """The decided layers and joint passes, the one that a budget cut short included."""
        return self.num_decided() + self.num_joint() + (self.folder / f"joint-{PROVISIONAL}.parquet").is_file()

    def layer_rows(self) -> list[dict[str, Any]]:
        """The rows of the committed layers, in the order in which they were decided."""
        return [row for k in range(self.num_committed()) for row in self._rows(f"layers-{k}.parquet", "layers")]

    def candidate_counts(self) -> tuple[int, int, int]:
        """Over the decided layers and the joint passes: candidates asked for, those scored, and the images they saw."""
        asked = scored = images = 0
        for k in self.candidate_steps():
            found = self._candidates(k, ["from_memo", "images_scored"])
            asked += len(found)
            scored += len(found) - sum(bool(m) for m in found["from_memo"].to_pylist())
            images += sum(seen or 0 for seen in found["images_scored"].to_pylist())
        return asked, scored, images

    def candidate_steps(self) -> list[int | str]:
        """The numbers of the files of candidates: of committed layers, of joint passes, of what was cut short."""
        cut_short = [PROVISIONAL] if (self.folder / f"candidates-{PROVISIONAL}.parquet").is_file() else []
        return [*range(self.num_committed() + self.num_joint()), *cut_short]

    def num_candidates(self, step: int | str) -> int:
        """How many candidates one of these files holds."""
        return len(self._candidates(step, ["sample"]))

    def candidate_rows(self, step: int | str, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Some rows of one of these files, by their numbers in it."""
        rows: list[dict[str, Any]] = self._candidates(step).take(numbers).to_pylist()
        return rows

    def _candidates(self, step: int | str, columns: Sequence[str] | None = None) -> pa.Table:
        return read_table(self.folder / f"candidates-{step}.parquet", "candidates", self.trial_id, columns)

    def cut_short_row(self, table: str) -> dict[str, Any] | None:
        """The row of the layer (``layers``) or joint pass (``joint``) that a budget cut short, if there is one."""
        file = self.folder / f"{table}-{PROVISIONAL}.parquet"
        return self._rows(file.name, table)[0] if file.is_file() else None

    def write_layer(self, step: int | str, layer: Row, updates: Sequence[Row], candidates: Sequence[Row]) -> None:
        """Commit one decided layer (or, as ``PROVISIONAL``, keep one that was cut short); its ``layers`` file, written
        last, is what says that it is complete."""
        self._write(f"updates-{step}.parquet", "updates", updates)
        self._write(f"candidates-{step}.parquet", "candidates", candidates)
        self._write(f"layers-{step}.parquet", "layers", [layer])
        publish(self.folder)

    def num_joint(self) -> int:
        """Joint passes committed so far."""
        return self._unbroken("joint")

    def joint_rows(self) -> list[dict[str, Any]]:
        """The rows of the joint passes."""
        return [row for k in range(self.num_joint()) for row in self._rows(f"joint-{k}.parquet", "joint")]

    def write_joint(self, number: int | str, step: int | str, row: Row, candidates: Sequence[Row]) -> None:
        """Commit a joint pass, ``step`` in the count of layers and passes; ``PROVISIONAL`` as in write_layer."""
        self._write(f"candidates-{step}.parquet", "candidates", candidates)
        self._write(f"joint-{number}.parquet", "joint", [row])
        publish(self.folder)

    def low_rank_rows(self) -> list[dict[str, Any]]:
        """The rows of the layers that the low-rank step has been through, in its order."""
        steps = range(self._unbroken("low_rank"))
        return [row for k in steps for row in self._rows(f"low_rank-{k}.parquet", "low_rank")]

    def write_low_rank(self, step: int, row: Row) -> None:
        """Write what the low-rank step did with a layer, once that is on disk."""
        self._write(f"low_rank-{step}.parquet", "low_rank", [row])
        publish(self.folder)

    def write_pictures(self, rows: Sequence[Row]) -> None:
        """Write the predictions of the trial's network for a few images, beside the baseline's."""
        self._write("pictures.parquet", "pictures", rows)

    def write_speed(self, rows: Sequence[Row]) -> None:
        """Write the speed of the trial's network and of the baseline; replaces earlier measurements."""
        self._write("speed.parquet", "speed", rows)

    def write_trial(self, row: Row) -> None:
        """Write the trial's row: the last file of a trial."""
        self._write("trial.parquet", "trial", [row])
        publish(self.folder)

    def _rows(self, name: str, table: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = read_table(self.folder / name, table, self.trial_id).to_pylist()
        return rows

    def make_folder(self) -> None:
        """Create the trial's folder. Raises :class:`FileError` where the study's folder has been removed."""
        if self._has_manifest and not self._manifest.is_file():
            raise FileError(f"{self._manifest.parent}: the study's folder was removed while it ran; nothing is written")
        with naming(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    def _write(self, name: str, table: str, rows: Sequence[Row]) -> None:
        self.make_folder()
        write_table(self.folder / name, table, [self._keys | dict(row) for row in rows])


class FolderLock:
    """Keeps two studies off one folder; dies with its process."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / ".lock"

    def __enter__(self) -> FolderLock:
        with naming(self.file, "delete it if no study is running in this folder"):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self._handle = self.file.open("a+")
        try:
            self._take()
        except BlockingIOError:
            self._handle.seek(0)
            owner = self._handle.read().strip() or "another process"
            self._handle.close()
            folder = self.file.parent
            raise ResultsError(f"{folder} is in use by {owner}; choose another folder with --out") from None
        with contextlib.suppress(OSError):  # who holds the lock helps others; it works without
            self._handle.truncate(0)
            self._handle.write(f"process {os.getpid()} on {os.uname().nodename}")
            self._handle.flush()
        return self

    def _take(self) -> None:
        """Lock the file. Who only looks (:meth:`is_held`) holds it for an instant, so one refusal is not an answer."""
        for wait_s in (0.01, 0.1):
            with contextlib.suppress(BlockingIOError):
                return fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            time.sleep(wait_s)
        return fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def is_held(self) -> bool:
        """Whether a process holds the lock, as far as this machine can tell; needs no right to write."""
        return self.holder() is not None

    def holder(self) -> str | None:
        """Who holds the lock: ``process 12 on host``; ``None`` where nobody does.

        A lock that cannot be looked at counts as held. For results on a store, whoever claimed them there.
        """
        if (told := seen(self.file.parent)) is not None:
            return None if told.get("holder") is None else str(told["holder"])
        try:
            handle = os.open(self.file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError:
            return f"an unknown process ({self.file} cannot be opened)"
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return os.read(handle, 200).decode("utf-8", errors="replace").strip() or "another process"
        finally:
            os.close(handle)
        return None

    def is_of_another_machine(self) -> bool:
        """Whether a process on another machine took the lock last."""
        try:
            with self.file.open("rb") as handle:
                owner = handle.read(1000).decode(errors="replace")
        except OSError:
            return False
        return " on " in owner and owner.rpartition(" on ")[2].strip() != os.uname().nodename

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._handle.close()
