"""What can be deleted from a study's folder, by kind, and its deletion.

Rows of the present study's completed trials and the baselines always stay. Symbolic links are neither followed nor
deleted. A folder is renamed before it is emptied, so that nobody finds half of it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raprune.artefact.keeping import kept, thin_out
from raprune.errors import DamagedError, ResultsError, StudyError, meaning
from raprune.results import DOMINATED, FolderLock, TrialStore, read_manifest
from raprune.results.shelf import disk_use
from raprune.study.reader import read_document
from raprune.system.store import removed
from raprune.system.writing import aside_of

ASIDE = re.compile(r"\..+\.[0-9a-f]{12}|\.model|.+\.damaged(-\d+)?")
"""Files and folders that were being written or deleted when a process was killed, or that were moved aside."""


@dataclass(frozen=True)
class Leftover:
    """One file or folder that can be deleted."""

    kind: str
    place: Path
    num_bytes: int


@dataclass(frozen=True)
class Study:
    """A study's folder, with what its manifest and rows say."""

    folder: Path
    stores: tuple[TrialStore, ...]
    """Of the present trials, in the study's order."""
    rows: dict[str, dict[str, Any]]
    """trial_id -> row, of those that have one; a damaged row is left alone, like its trial."""
    damaged: frozenset[str]

    @property
    def has_ended(self) -> bool:
        """Whether every trial has completed or failed, or was stopped by a scheduler."""
        rows = [self.rows.get(store.trial_id, {}) for store in self.stores]
        return all(row.get("status") in ("completed", "failed") or row.get("stopped_by") == DOMINATED for row in rows)


def open_study(folder: Path) -> Study:
    """The study in ``folder``. Raises :class:`ResultsError` where there is none, or one is running."""
    if not (folder / "manifest.json").is_file():
        raise ResultsError(f"{folder} contains no study (no manifest.json): nothing in it is touched")
    folder = folder.resolve()
    if (holder := FolderLock(folder).holder()) is not None:
        raise ResultsError(f"{folder} is in use by {holder}: nothing in it is touched")
    return _read(folder)


def _read(folder: Path) -> Study:
    manifest = read_manifest(folder)
    stores = tuple(TrialStore(folder, manifest["study"], trial_id) for trial_id in manifest["trial_ids"])
    rows, damaged = {}, set()
    for store in stores:
        try:
            row = store.trial_row()
        except DamagedError:
            damaged.add(store.trial_id)
            continue
        if row is not None:
            rows[store.trial_id] = row
    return Study(folder, stores, rows, frozenset(damaged))


def leftovers(study: Study, keep_models: str | None = None) -> list[Leftover]:
    """All that can be deleted; ``keep_models`` in place of the study's own."""
    found = [
        *_stale(study), *_partial(study), *_unfinished(study), *_children(study, "training", "unfinished"),
        *_children(study, "memo", "memo"), *_children(study, "report", "reports"),
        *_state(study),
        *(("models", store.folder / "model") for store in _unkept(study, keep_models)),
    ]  # fmt: skip
    return [Leftover(kind, place, disk_use([place])[0]) for kind, place in dict.fromkeys(found) if _is_ours(place)]


def delete(study: Study, kinds: Collection[str], keep_models: str | None = None) -> tuple[list[Leftover], list[str]]:
    """Delete what is of these kinds; returns what is gone, and a sentence for each that could not be deleted.

    Raises :class:`ResultsError` where a study has begun to run meanwhile.
    """
    with FolderLock(study.folder):
        study = _read(study.folder)
        gone: list[Leftover] = []
        problems: list[str] = []
        for leftover in leftovers(study, keep_models):
            if leftover.kind in kinds and leftover.kind != "models" and os.path.lexists(leftover.place):
                wrong = _remove(leftover.place)
                problems += wrong
                gone += [] if wrong else [leftover]
        if "models" in kinds:
            models = [left for left in leftovers(study, keep_models) if left.kind == "models"]
            try:
                if models:
                    thin_out(study.stores, keep_models or kept_by(study.folder))
            except OSError as error:
                problems.append(f"{error.filename}: {meaning(error)}")
            gone += [left for left in models if not os.path.lexists(left.place)]
    return gone, problems


def kept_by(folder: Path) -> str:
    """``keep_models`` of the study file in ``folder``; ``all`` where that cannot be read."""
    with contextlib.suppress(StudyError):
        found = read_document(folder / "study.yaml").data.get("keep_models")
        return found if found in ("best", "front") else "all"
    return "all"


Found = Iterator[tuple[str, Path]]


def _stale(study: Study) -> Found:
    """Trials that an earlier version of the study file left behind."""
    present = {store.trial_id for store in study.stores}
    for kind, place in _children(study, "trials", "stale"):
        if place.name not in present and not ASIDE.fullmatch(place.name) and place.is_dir():
            yield kind, place


def _partial(study: Study) -> Found:
    """What a killed process left half written, and what was moved aside because it was damaged."""
    for root, folders, files in os.walk(study.folder):
        for name in [*folders, *files]:
            if ASIDE.fullmatch(name):
                yield "partial", Path(root) / name
        folders[:] = [name for name in folders if not ASIDE.fullmatch(name)]


def _unfinished(study: Study) -> Found:
    """Folders of present trials without numbers."""
    for store in study.stores:
        row = study.rows.get(store.trial_id)
        without = row is None or (row["status"] != "completed" and row["macs"] is None)
        if without and store.trial_id not in study.damaged:
            yield "unfinished", store.folder


def _state(study: Study) -> Found:
    """Snapshots of completed trials. What their order cost (order.json) stays: a budget counts it."""
    for store in study.stores:
        if (
            study.rows.get(store.trial_id, {}).get("status") == "completed"
            and not (store.folder / "state").is_symlink()
        ):
            with contextlib.suppress(OSError):
                files = sorted((store.folder / "state").iterdir())
                yield from (("state", file) for file in files if file.name != "order.json")


def _unkept(study: Study, keep_models: str | None) -> Iterator[TrialStore]:
    """Trials whose network ``keep_models`` would remove: none before every trial has ended."""
    if study.has_ended:
        keeps = kept(list(study.rows.values()), keep_models or kept_by(study.folder))
        yield from (store for store in study.stores if store.trial_id not in keeps)


def _children(study: Study, name: str, kind: str) -> Found:
    """What lies in a folder of the study, unless it is a link."""
    folder = study.folder / name
    with contextlib.suppress(OSError):
        if not folder.is_symlink():
            yield from ((kind, place) for place in sorted(folder.iterdir()))


def _is_ours(place: Path) -> bool:
    """Whether a place exists inside the study's folder, reached through no symbolic link, and is none itself."""
    with contextlib.suppress(OSError):
        mode = place.lstat().st_mode
        return (stat.S_ISREG(mode) or stat.S_ISDIR(mode)) and place.parent.resolve() == place.parent
    return False


def _remove(place: Path) -> list[str]:
    """Delete a file or folder; returns a sentence for each file that could not be deleted."""
    problems: list[str] = []

    def note(_: Any, path: str, found: Any) -> None:
        error = found[1]
        problems.append(f"{path}: {meaning(error) if isinstance(error, OSError) else error}")

    try:
        if not place.is_dir():
            place.unlink()
            removed(place)
            return []
        aside = place if ASIDE.fullmatch(place.name) else place.with_name(aside_of(place.name))
        place.rename(aside)
        removed(place)
    except OSError as error:
        return [f"{place}: {meaning(error)}"]
    shutil.rmtree(aside, onerror=note)
    return problems
