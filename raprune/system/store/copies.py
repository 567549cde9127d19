"""The mirrors on this machine: what they are of, what they take, and which of their files the store has, too."""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from raprune.errors import RapruneError, ResultsError
from raprune.system.store.address import OWN, READ, Address, address_of, is_own, mirrors_folder, shown
from raprune.system.store.claim import holder
from raprune.system.store.mirror import Mirror


@dataclass(frozen=True)
class Copy:
    """One mirror."""

    root: Path
    shared: dict[str, int]
    """Bytes of each file that the store has as it is here."""
    only_here: tuple[str, ...]
    """Files that the store does not have, or not as they are here."""

    @property
    def num_bytes(self) -> int:
        """What can be freed."""
        return sum(self.shared.values())


def mirrors(address: Address | None = None) -> list[Path]:
    """The mirrors on this machine, or those of one address; a folder that is none is left out."""
    found = []
    for kind in (OWN, READ):
        for root in sorted((mirrors_folder() / kind).glob("*")):
            with contextlib.suppress(RapruneError):
                if root.is_dir() and not root.is_symlink() and address in (None, address_of(root)):
                    found.append(root)
    return found


def copy_at(root: Path) -> Copy:
    """What a mirror holds, compared with its store now.

    Raises :class:`raprune.errors.StorageError` where the store cannot be read.
    """
    mirror = Mirror(root)
    mirror.remote.check()
    there, known, here = mirror.remote.stamps(), mirror.journal.entries(), mirror.local()
    shared = {
        name: local.size
        for name, local in here.items()
        if name in known and known[name].here == local and known[name].there == there.get(name)
    }
    return Copy(root, shared, tuple(name for name in here if name not in shared))


def free(copy: Copy) -> None:
    """Delete from a mirror what the store has, too, and the folder if nothing else is in it.

    Raises :class:`ResultsError` where the study runs, on whatever machine, and this one may take part in it.
    """
    if is_own(copy.root) and (who := holder(Mirror(copy.root).remote)) is not None:
        raise ResultsError(f"{copy.root} may be in use: {shown(copy.root)} is run by {who}")
    if not copy.only_here:
        shutil.rmtree(copy.root)
        return
    for name in copy.shared:
        (copy.root / name).unlink(missing_ok=True)
    for folder, _, _ in os.walk(copy.root, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)  # one that is empty
