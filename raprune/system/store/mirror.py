"""A mirror and its store: what differs, and in which order it is made the same.

Files are sent in ranks: first what others refer to (weights, candidates), then the JSON files that name it, then the
files that commit a layer, last a trial's row; only then is deleted what is gone. Of several committed layers the last
goes first: their count is the unbroken sequence from 0, so it jumps at once from what the store held to what is sent.
Whenever the process or its machine dies, the store is therefore as a local folder could be after a kill, and resuming
from it works the same.

Which side is newer follows from the journal, which knows what both had when they were last compared. What changed here
alone is sent, what changed there alone is taken, and of what changed on both sides the store's is kept: somebody else
has gone on from there, and rows are a pure function of the trial.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from raprune.errors import StorageError, meaning
from raprune.system.store.address import address_of
from raprune.system.store.journal import NOTHING, Common, Journal, Local
from raprune.system.store.remote import Remote, Stamp, each, is_plain

if TYPE_CHECKING:
    import pyarrow as pa

ROOT_FILES = "."
"""Stands for the files directly in the study's folder."""
BY_NAME = "training"
"""A folder of which nothing is taken but what is asked for by name: only who goes on with a training needs its file."""
COMMITS = re.compile(r"(?:.*/)?(low_rank|joint|layers)-(\d+)\.parquet")
ROW = "trial.parquet"


class Mirror:
    """The folder ``root`` and the store that its path names."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.address = address_of(root)
        self.journal = Journal(root)
        self._remote: Remote | None = None
        self._lock = threading.RLock()

    @property
    def remote(self) -> Remote:
        """The store. Raises :class:`StorageError` where it cannot be opened."""
        if self._remote is None:
            self._remote = Remote(self.address)
        return self._remote

    def send(self, below: str) -> None:
        """Send what changed here below a folder since it was last compared, and delete there what was removed here.

        ``below``: a folder or file; empty for all, :data:`ROOT_FILES` for the files directly in the study's folder.
        """
        with self._lock:
            commits, found = self.local(below), self.local(below)  # what a commit refers to is older, so it is found
            entries = self._entries(below)
            changed = [name for name, local in found.items() if entries.get(name, NOTHING).here != local]
            for group in _in_order([name for name in changed if not _is_commit(name) or name in commits]):
                self._send(group)
            gone = [name for name, entry in entries.items() if not entry.here and entry.there and name not in found]
            each(self.remote.delete, gone)
            self.journal.add(dict.fromkeys(gone, NOTHING))

    def _send(self, names: list[str]) -> None:
        sent: dict[str, Local] = {}

        def put(name: str) -> None:
            if (local := _local_of(self.root / name)) is not None:
                with contextlib.suppress(FileNotFoundError):  # removed meanwhile: next time it counts as gone
                    content = _content(self.root / name)
                    self.remote.put(name, content)
                    sent[name] = local._replace(size=len(content))

        each(put, names)
        arrived = self.remote.stamps_of(list(sent))
        for name, local in sent.items():
            if name not in arrived or arrived[name].size != local.size:
                raise StorageError(f"{self.address.below(name)} did not arrive whole")
        self.journal.add({name: Common(local, arrived[name]) for name, local in sent.items()})

    def take(self, below: str = "", wanted: Callable[[str], bool] = lambda _: True) -> dict[str, Stamp]:
        """Take what changed in the store below a folder; returns all that the store has there.

        A file is written aside and renamed. What another machine deleted is deleted here, unless it changed here.
        """
        is_named = _is_in(below, BY_NAME)
        with self._lock:
            there = self._there(below)
            here, entries = self.local(below), self._entries(below)
            new = [
                name
                for name, stamp in there.items()
                if (is_named or not _is_in(name, BY_NAME))
                and wanted(name)
                and _is_news(entries.get(name, NOTHING), stamp, here.get(name))
            ]
            for group in _in_order(new, one_by_one=False):
                self._take(group, there)
            gone = [name for name, entry in entries.items() if entry.there and name not in there]
            for name in gone:
                if entries[name].here == here.get(name):
                    (self.root / name).unlink(missing_ok=True)
            self.journal.add(dict.fromkeys(gone, NOTHING))
            return there

    def removed(self, below: str) -> None:
        """Note that a file or folder was removed here on purpose; the next :meth:`send` deletes it there."""
        entries = {name: entry for name, entry in self._entries(below).items() if entry.there}
        self.journal.add({name: Common(None, entry.there) for name, entry in entries.items()})

    def discard(self, below: str) -> None:
        """Delete what the store has below a folder, known here or not."""
        with self._lock:
            each(self.remote.delete, self.remote.stamps(below))
            self.journal.add(dict.fromkeys(self._entries(below), NOTHING))

    def _take(self, names: list[str], there: dict[str, Stamp]) -> None:
        taken: dict[str, Common] = {}

        def take(name: str) -> None:
            file = self.root / name
            stamp = self.remote.take(name, there[name], file)
            if stamp is not None:
                taken[name] = Common(_local_of(file), stamp)

        each(take, names)
        self.journal.add(taken)

    def _there(self, below: str) -> dict[str, Stamp]:
        if below == ROOT_FILES:
            return {name: stamp for name, stamp in self.remote.stamps().items() if "/" not in name}
        return self.remote.stamps(below)

    def _entries(self, below: str) -> dict[str, Common]:
        return self.journal.entries(lambda name: _is_in(name, below))

    def local(self, below: str = "") -> dict[str, Local]:
        """All files of the mirror below a folder; hidden ones and links left out."""
        top = self.root / below
        if top.is_file():
            files: Iterator[Path] = iter([top])
        else:
            files = (Path(folder) / name for folder, names in _walk(top, below != ROOT_FILES) for name in names)
        named = ((file.relative_to(self.root).as_posix(), file) for file in files)
        return {name: local for name, file in named if is_plain(name) and (local := _local_of(file)) is not None}


def _is_news(known: Common, there: Stamp, here: Local | None) -> bool:
    """Whether a file of the store is to be taken: it changed there, or got lost here."""
    return known.there != there or (known.here is not None and here is None)


def _walk(top: Path, recursive: bool) -> Iterator[tuple[str, list[str]]]:
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(".")] if recursive else []
        yield folder, names


def _local_of(file: Path) -> Local | None:
    with contextlib.suppress(OSError):
        found = file.lstat()
        return Local(found.st_size, found.st_mtime_ns) if stat.S_ISREG(found.st_mode) else None
    return None


def _content(file: Path) -> pa.Buffer:
    """A file's bytes, mapped: a large network is not held twice."""
    import pyarrow as pa

    try:
        if not file.stat().st_size:
            return pa.py_buffer(b"")
        return pa.memory_map(os.fspath(file)).read_buffer()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageError(f"{file} cannot be sent: {meaning(error)}") from None


def _is_in(name: str, below: str) -> bool:
    if below == ROOT_FILES:
        return "/" not in name
    return not below or name == below or name.startswith(f"{below}/")


def _is_commit(name: str) -> bool:
    return COMMITS.fullmatch(name) is not None or name.rpartition("/")[2] == ROW


def _in_order(names: list[str], one_by_one: bool = True) -> list[list[str]]:
    """Groups of names: those of one group may be sent at the same time, each group once the one before has arrived."""
    commits = sorted(((match, name) for name in names if (match := COMMITS.fullmatch(name))), key=_last_first)
    rows = [name for name in names if name.rpartition("/")[2] == ROW]
    others = [name for name in names if not _is_commit(name)]
    descriptions = [name for name in others if name.endswith(".json")]
    files = [name for name in others if not name.endswith(".json")]
    between = [[name] for _, name in commits] if one_by_one else [[name for _, name in commits]]
    return [group for group in (files, descriptions, *between, rows) if group]


def _last_first(found: tuple[re.Match[str], str]) -> tuple[str, int]:
    kind, number = found[0][1], int(found[0][2])
    return {"low_rank": "0", "joint": "1", "layers": "2"}[kind], -number
