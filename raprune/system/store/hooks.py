"""What a process calls where results are complete, or needed. For folders that are no mirrors nothing happens."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from raprune.errors import StorageError
from raprune.system.store.address import is_own, root_of
from raprune.system.store.mirror import ROOT_FILES, Mirror
from raprune.system.store.publisher import LATER_S, Publisher
from raprune.system.store.remote import patiently

_PUBLISHERS: dict[tuple[int, Path], Publisher] = {}
"""One for each mirror, in this process: a thread does not survive a fork."""
_BROUGHT: set[Path] = set()
"""Folders that have been taken once and do not change any more."""


def publisher_of(root: Path) -> Publisher:
    """This process's publisher of a mirror."""
    key = os.getpid(), root
    if key not in _PUBLISHERS:
        _PUBLISHERS[key] = Publisher(Mirror(root))
    return _PUBLISHERS[key]


def publish(place: Path) -> None:
    """Send what is complete in a study's folder, or in a folder of it, in the background."""
    publish_later(place, 0.0)


def publish_later(place: Path, wait_s: float = LATER_S) -> None:
    """As :func:`publish`, within ``wait_s`` seconds: for what grows all the time."""
    root = root_of(place)
    if root is not None and is_own(root):
        publisher_of(root).note(_below(place, root), wait_s)


def removed(place: Path) -> None:
    """Note that a file or folder was removed on purpose, so that it goes from the store with what is published next."""
    root = root_of(place)
    if root is not None and is_own(root):
        publisher_of(root).mirror.removed(_below(place, root))


def discard(folder: Path) -> None:
    """Remove a folder that nobody needs any more, here and, unless it is away, on the store."""
    if not folder.is_symlink():
        shutil.rmtree(folder, ignore_errors=True)
    root = root_of(folder)
    if root is not None and is_own(root):
        with contextlib.suppress(StorageError):
            publisher_of(root).mirror.discard(_below(folder, root))


def deliver(place: Path) -> None:
    """Wait until everything that this process published has arrived.

    Raises :class:`raprune.errors.StorageError` where the store stays away for minutes; nothing is lost then.
    """
    root = root_of(place)
    if root is not None and is_own(root):
        publisher_of(root).deliver()


def bring(out: Path, parts: Iterable[str] = ("",)) -> None:
    """Take the ``parts`` of the study in ``out`` from its store: folders, or ``.`` for the files directly in ``out``.

    Raises :class:`raprune.errors.StorageError` where the store stays away for minutes.
    """
    root = root_of(out)
    if root is None or not is_own(root):
        return
    mirror = publisher_of(root).mirror
    for part in parts:
        below = part if part == ROOT_FILES else _below(out / part, root)
        patiently(lambda below=below: mirror.take(below))  # type: ignore[misc]


def bring_now(folder: Path) -> None:
    """As :func:`bring`, where one can do without: a store that is away is not waited for."""
    root = root_of(folder)
    if root is not None and is_own(root):
        with contextlib.suppress(StorageError):
            publisher_of(root).mirror.take(_below(folder, root))


def bring_complete(folder: Path, last: str) -> None:
    """Take a folder that does not change once its file ``last`` is there; a process takes it once."""
    root = root_of(folder)
    if root is not None and is_own(root) and folder not in _BROUGHT:
        bring(folder)
        if (folder / last).is_file():
            _BROUGHT.add(folder)


def held_elsewhere(out: Path) -> str | None:
    """Why this process may not go on: another machine runs the study now; ``None`` where none does."""
    root = root_of(out)
    return None if root is None or not is_own(root) else publisher_of(root).halted


def _below(place: Path, root: Path) -> str:
    inner = place.relative_to(root).as_posix()
    return "" if inner == "." else inner
