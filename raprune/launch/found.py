"""Handles what a run may find in its folder: another study, or damaged files."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from raprune.errors import DamagedError, InputError
from raprune.results import TrialStore, read_manifest, set_aside

Tell = Callable[[str], None]


def refuse_another(name: str, out: Path, tell: Tell) -> None:
    """Raise :class:`InputError` if ``out`` is the folder of a study with another name.

    A damaged manifest, which every run rewrites, is moved aside and reported to ``tell``.
    """
    file = out / "manifest.json"
    if not os.path.lexists(file):
        return
    try:
        other = read_manifest(out)["study"]
    except DamagedError:
        tell(f"{file} is damaged: moved to {set_aside(file).name} and rewritten")
        return
    if other != name:
        raise InputError(
            f"{out} is the folder of study {other}, not of {name}: choose another with --out, or set name: {other}"
        )


def set_damaged_rows_aside(stores: Iterable[TrialStore], tell: Tell) -> None:
    """Move unreadable rows of trials aside: these trials resume from their last committed layers."""
    for store in stores:
        if (moved := store.set_damaged_row_aside()) is not None:
            tell(f"{store.folder / 'trial.parquet'} is damaged: moved to {moved.name}; the trial finishes again")
