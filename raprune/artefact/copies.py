"""This machine's copies of studies on a store, and their removal: never of what the store does not have."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from raprune.errors import RapruneError, ResultsError
from raprune.results import FolderLock
from raprune.system.store import Copy, address_of, copy_at, free, is_own, mirrors


def copies_of(mirror: Path) -> list[Copy]:
    """All mirrors on this machine of what ``mirror`` is a mirror of.

    Raises :class:`raprune.errors.StorageError` where the store cannot be read: then nobody knows what it has.
    """
    return [copy_at(root) for root in mirrors(address_of(mirror))]


def free_copies(copies: Sequence[Copy]) -> tuple[list[Copy], list[str]]:
    """Free mirrors, compared anew; returns those that were, and a sentence for each that was not."""
    freed, problems = [], []
    for copy in copies:
        try:
            if is_own(copy.root) and (who := FolderLock(copy.root).holder()) is not None:
                raise ResultsError(f"{copy.root} is in use by {who}")
            with FolderLock(copy.root) if is_own(copy.root) else contextlib.nullcontext():
                now = copy_at(copy.root)
                free(now)
                freed.append(now)
        except (RapruneError, OSError) as error:
            problems.append(str(error))
    return freed, problems
