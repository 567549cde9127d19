"""What a folder of results holds: its studies and their trials, whatever state they are in.

Reading never raises: what is damaged is told in one sentence beside what could be read.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raprune.errors import RapruneError, in_words
from raprune.results.read import read_manifest
from raprune.results.schemas import SCHEMAS
from raprune.results.write import DOMINATED, FolderLock, TrialStore
from raprune.system.store import seen

WITHIN = 1e-9
"""Points by which a drop may be above its bound through rounding alone."""


@dataclass(frozen=True)
class TrialEntry:
    """One trial of a study as it now stands."""

    trial_id: str
    folder: Path
    """What ``raprune export`` and ``raprune bench`` take."""
    settings: Mapping[str, str]
    """Its values on the axes of the sweep."""
    status: str
    """completed, failed, stopped, unfinished (it has layers, but no row), not begun, or damaged."""
    row: Mapping[str, Any] = field(default_factory=dict)
    """Its row; empty where it has none."""
    has_network: bool = False

    @property
    def outcome(self) -> str:
        """Its status in a word for people: ``dominated`` instead of stopped where others dominated it."""
        return DOMINATED if self.row.get("stopped_by") == DOMINATED else self.status

    @property
    def is_within(self) -> bool:
        """Whether it has a network within a drop bound of its own."""
        bound, drop = self.row.get("drop_bound"), self.row.get("val_score_drop")
        return bound is not None and drop is not None and drop <= bound + WITHIN

    @property
    def macs_removed(self) -> float | None:
        """Share of the multiply-adds, 0 to 1."""
        macs, before = self.row.get("macs"), self.row.get("baseline_macs")
        return None if macs is None or not before else 1 - macs / before


@dataclass(frozen=True)
class StudyEntry:
    """One study's folder."""

    folder: Path
    name: str
    trials: tuple[TrialEntry, ...] = ()
    rehearses: str | None = None
    """Name of the study that this is a rehearsal of."""
    running: str | None = None
    """The process that holds the folder; ``None`` where none does."""
    num_bytes: int = 0
    """On disk, links not followed."""
    changed_s: float = 0.0
    """When a file in it last changed, in seconds since 1970."""
    problems: tuple[str, ...] = ()
    """What cannot be read, one sentence each."""

    @property
    def statuses(self) -> Counter[str]:
        return Counter(trial.status for trial in self.trials)

    @property
    def best(self) -> TrialEntry | None:
        """Of the completed trials within their own bound, the one that removes most multiply-adds."""
        within = [t for t in self.trials if t.status == "completed" and t.is_within and t.macs_removed is not None]
        return max(within, key=lambda trial: trial.macs_removed or 0.0, default=None)


def studies_in(folder: Path) -> list[StudyEntry]:
    """The studies directly in ``folder``, by name; a folder without ``manifest.json`` is none."""
    with contextlib.suppress(OSError):
        found = sorted(place for place in folder.iterdir() if os.path.lexists(place / "manifest.json"))
        return [study_entry(place) for place in found]
    return []


def study_entry(folder: Path) -> StudyEntry:
    """The study in ``folder``, as far as it can be read."""
    num_bytes, changed = _extent(folder)
    common: dict[str, Any] = {"running": FolderLock(folder).holder(), "num_bytes": num_bytes, "changed_s": changed}
    try:
        manifest = read_manifest(folder)
    except (RapruneError, OSError) as error:
        return StudyEntry(folder, folder.name, problems=(_sentence(error),), **common)
    problems: list[str] = []
    trials = tuple(
        _trial_entry(folder, manifest["study"], trial_id, manifest["axes"].get(trial_id, {}), problems)
        for trial_id in manifest["trial_ids"]
    )
    rehearses = manifest.get("rehearses")
    rehearses = rehearses if isinstance(rehearses, str) else None
    return StudyEntry(folder, manifest["study"], trials, rehearses, problems=tuple(problems), **common)


def _extent(folder: Path) -> tuple[int, float]:
    """Bytes of a study, and when it last changed; of one on a store, what the store says."""
    told = seen(folder) or {}
    num_bytes, changed = told.get("num_bytes"), told.get("changed_s")
    if isinstance(num_bytes, int) and isinstance(changed, int):
        return num_bytes, float(changed)
    return disk_use([folder])


def _trial_entry(folder: Path, study: str, trial_id: str, axes: Mapping[str, str], problems: list[str]) -> TrialEntry:
    store = TrialStore(folder, study, trial_id)
    has_network = (store.folder / "model").is_dir()
    try:
        row = store.trial_row()
    except (RapruneError, OSError) as error:
        problems.append(_sentence(error))
        return TrialEntry(trial_id, store.folder, axes, "damaged", has_network=has_network)
    if row is not None:
        return TrialEntry(trial_id, store.folder, axes, str(row["status"]), row, has_network)
    return TrialEntry(trial_id, store.folder, axes, "unfinished" if has_begun(store.folder) else "not begun")


def has_begun(trial: Path) -> bool:
    """Whether a trial's folder has rows of any table."""
    tables = {f"{table}-" for table in SCHEMAS}
    with contextlib.suppress(OSError):
        return any(name.endswith(".parquet") and name.startswith(tuple(tables)) for name in os.listdir(trial))
    return False


def disk_use(places: Iterable[Path]) -> tuple[int, float]:
    """Bytes that the files in ``places`` take, and when the last of them changed; links are not followed."""
    num_bytes, changed = 0, 0.0
    for found in _files(places):
        num_bytes += found.st_size
        changed = max(changed, found.st_mtime)
    return num_bytes, changed


def _files(places: Iterable[Path]) -> Iterator[os.stat_result]:
    for place in places:
        with contextlib.suppress(OSError):
            found = os.lstat(place)
            if not stat.S_ISDIR(found.st_mode):
                yield found
                continue
            for root, _, names in os.walk(place):
                for name in names:
                    with contextlib.suppress(OSError):
                        if name != ".lock":  # looking at it changes nothing, but starting a run does
                            yield os.lstat(os.path.join(root, name))


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, RapruneError) else in_words(error) or str(error)
