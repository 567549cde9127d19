"""What a store holds as a folder: to look at and delete from like any other, without taking what may be large.

Tables and descriptions are whole in it; weights and the memo are empty space of the same size.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from raprune.errors import InputError, ResultsError, naming
from raprune.system.store.address import root_of, shown
from raprune.system.store.claim import Claim, holder
from raprune.system.store.mirror import ROW, Mirror
from raprune.system.store.reading import MANIFEST, reading, tables
from raprune.system.store.remote import Remote, Stamp, each


@dataclass(frozen=True)
class Hollow:
    """The folder, and what the store held when it was made."""

    folder: Path
    remote: Remote
    stamps: dict[str, Stamp]

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """Let the store follow what the block deletes from the folder, and adds to it.

        Raises :class:`ResultsError` where a study has begun to run there meanwhile.
        """
        claim = Claim(self.folder, self.remote)
        claim.take()
        try:
            yield
            left = dict(_files(self.folder))
            new = [name for name in left if name not in self.stamps]
            each(lambda name: self.remote.put(name, left[name].read_bytes()), new)
            gone = [name for name in self.stamps if name not in left]
            rows = [name for name in gone if name.rpartition("/")[2] == ROW]
            each(self.remote.delete, rows)  # a trial without a row is one that has not ended, whatever else is left
            each(self.remote.delete, sorted(set(gone) - set(rows)))
        finally:
            claim.drop()


@contextlib.contextmanager
def hollow(place: Path) -> Iterator[Hollow]:
    """The study at an address, whose mirror for reading is ``place``.

    Raises :class:`InputError` for what is no study's address, :class:`ResultsError` where a study runs there, and
    :class:`raprune.errors.StorageError` where the store cannot be read.
    """
    root = root_of(place)
    if root is None or root != place:
        raise InputError(f"{shown(place)} is not the address of a study: name that")
    reading(place, tables)
    remote = Mirror(root).remote
    if (who := holder(remote)) is not None:
        raise ResultsError(f"{remote.address} is in use by {who}: nothing in it is touched")
    if MANIFEST not in (stamps := remote.stamps()):
        raise ResultsError(f"{remote.address} contains no study (no {MANIFEST}): nothing in it is touched")
    with tempfile.TemporaryDirectory(prefix="raprune-") as made:
        folder = Path(made).resolve()
        for name, stamp in stamps.items():
            file = folder / name
            with naming(file):
                file.parent.mkdir(parents=True, exist_ok=True)
                if tables(name) and (root / name).is_file():
                    shutil.copyfile(root / name, file)
                else:
                    file.touch()
                    os.truncate(file, stamp.size)
        yield Hollow(folder, remote, stamps)


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file below a folder by its name on the store; hidden ones are not of it."""
    for top, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        files = (Path(top) / name for name in names if not name.startswith("."))
        yield from ((file.relative_to(folder).as_posix(), file) for file in files)
