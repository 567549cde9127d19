"""The studies of a report as one set of tables, and the folder of each of their trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import pandas as pd

from raprune.errors import InputError
from raprune.results import Tables, read_study

from .harmless import harmless, shown
from .labels import in_order


@dataclass(frozen=True)
class Report:
    """What a report shows: the tables of all its studies, and where they lie."""

    tables: Tables
    """Of all studies. ``study`` tells them apart, and so does ``trial_id``: see :func:`read_report`."""
    manifests: Mapping[str, dict[str, Any]]
    """Study, as in the column ``study``, -> its manifest."""
    homes: Mapping[str, Path]
    """Trial id, as in the tables, -> the trial's folder."""
    damaged: tuple[str, ...] = ()
    """What is wrong with trials that are left out."""

    @property
    def several(self) -> bool:
        """Does it compare studies?"""
        return len(self.manifests) > 1

    @property
    def folders(self) -> list[Path]:
        """The studies' folders."""
        return list(dict.fromkeys(home.parents[1] for home in self.homes.values()))


def read_report(folders: Sequence[Path]) -> Report:
    """Read the studies in ``folders``; texts are made harmless.

    Studies of one name are told apart by their folders. Where two studies have a trial in common, its id in the later
    one is preceded by that study. Raises :class:`raprune.errors.RapruneError` if a folder holds no study, is given
    twice, or its manifest is damaged; a trial with a damaged table is left out.
    """
    for folder in folders:
        if [other.resolve() for other in folders].count(folder.resolve()) > 1:
            raise InputError(f"{folder} is given twice; a report compares different studies")
    damaged: list[dict[str, str]] = [{} for _ in folders]
    found = [
        harmless(read_study(folder, sums={"candidates": ["score_s"]}, damaged=of))
        for folder, of in zip(folders, damaged, strict=True)
    ]
    report = _report(found, folders)
    return replace(report, damaged=tuple(shown(message, None) for of in damaged for message in of.values()))


def _report(found: Sequence[Tables], folders: Sequence[Path]) -> Report:
    """The report of studies as read."""
    if len(found) == 1:
        return report_of(found[0], folders[0])
    names = [tables.manifest["study"] for tables in found]
    labels = [
        name if names.count(name) == 1 else f"{name} ({shown(str(folder))})"
        for name, folder in zip(names, folders, strict=True)
    ]
    taken: set[str] = set()
    parts = []
    for label, folder, tables in zip(labels, folders, found, strict=True):
        ids = tables.manifest["trial_ids"]
        own = {name: f"{label}/{name}" for name in ids} if taken & set(ids) else {}
        taken |= set(ids)
        parts.append(report_of(_renamed(tables, label, own), folder, {new: old for old, new in own.items()}))
    return _together(parts)


def report_of(tables: Tables, folder: Path | None = None, ids: Mapping[str, str] | None = None) -> Report:
    """One study as a report; ``ids`` are the names of trials' folders where they are not those in the tables."""
    study = tables.manifest["study"]
    folder = folder or Path("results") / study
    homes = {name: folder / "trials" / (ids or {}).get(name, name) for name in tables.manifest["trial_ids"]}
    return Report(tables, {study: tables.manifest}, homes)


def _renamed(tables: Tables, study: str, ids: Mapping[str, str]) -> Tables:
    """The same tables under another study's name, with other names of some trials."""
    frames = {}
    for name in _frames(tables):
        frame = getattr(tables, name).assign(study=study)
        columns = [column for column in ("trial_id", "matched_trial_id") if column in frame]
        frames[name] = frame.assign(**{c: frame[c].map(lambda of: ids.get(of, of)) for c in columns}) if ids else frame
    manifest = tables.manifest | {
        "study": study,
        "trial_ids": [ids.get(name, name) for name in tables.manifest["trial_ids"]],
        "axes": {ids.get(name, name): axes for name, axes in tables.manifest["axes"].items()},
    }
    return replace(tables, manifest=manifest, **frames)


def _together(parts: Sequence[Report]) -> Report:
    first = parts[0].tables
    frames = {}
    for name in _frames(first):
        filled = [frame for part in parts if len(frame := getattr(part.tables, name))]
        frames[name] = pd.concat(filled, ignore_index=True) if filled else getattr(first, name)
    manifests = {study: manifest for part in parts for study, manifest in part.manifests.items()}
    manifest = {
        "study": " and ".join(in_order(manifests)),
        "trial_ids": [name for of in manifests.values() for name in of["trial_ids"]],
        "axes": {name: axes for of in manifests.values() for name, axes in of["axes"].items()},
    }
    homes = {name: home for part in parts for name, home in part.homes.items()}
    return Report(replace(first, manifest=manifest, **frames), manifests, homes)


def _frames(tables: Tables) -> list[str]:
    return [field.name for field in fields(tables) if field.name != "manifest"]
