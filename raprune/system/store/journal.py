"""What a mirror and its store had in common when they were last compared, file by file.

Kept in the mirror, in lines that the processes of this machine append. A line that is lost costs a transfer, no result:
what neither side can vouch for is taken from the store again.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from raprune.errors import naming
from raprune.system.store.remote import Stamp
from raprune.system.writing import written

FOLDER = ".store"
FILE = "journal.jsonl"


class Local(NamedTuple):
    """What tells whether a file of this machine has changed."""

    size: int
    mtime_ns: int


class Common(NamedTuple):
    """A file as it was here and there; ``None`` where it was not.

    One that is there but not here was removed here on purpose. A file that is merely missing here is taken again: who
    empties a cache does not mean to delete results.
    """

    here: Local | None
    there: Stamp | None


NOTHING = Common(None, None)


class Journal:
    """name -> :class:`Common`, of one mirror."""

    def __init__(self, root: Path) -> None:
        self.file = root / FOLDER / FILE
        self._entries: dict[str, Common] = {}
        self._position = 0
        self._lock = threading.Lock()

    def entries(self, wanted: Callable[[str], bool] = lambda _: True) -> dict[str, Common]:
        """The entries of ``wanted`` names, with those that other processes added meanwhile."""
        with self._lock:
            self._read()
            return {name: entry for name, entry in self._entries.items() if wanted(name)}

    def _read(self) -> None:
        with contextlib.suppress(FileNotFoundError), self.file.open("rb") as opened:
            if os.fstat(opened.fileno()).st_size < self._position:  # compacted by a later run
                self._entries, self._position = {}, 0
            opened.seek(self._position)
            for line in opened:
                if not line.endswith(b"\n"):
                    break
                self._position += len(line)
                _note(self._entries, line)

    def add(self, entries: dict[str, Common]) -> None:
        """Append entries; :data:`NOTHING` forgets a name."""
        if not entries:
            return
        with naming(self.file):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            opened = os.open(self.file, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                size = os.fstat(opened).st_size
                torn = size > 0 and os.pread(opened, 1, size - 1) != b"\n"  # its process was killed
                os.write(opened, b"\n" * torn + _lines(entries))
            finally:
                os.close(opened)

    def compact(self) -> None:
        """Write the file anew, an entry a line; only while no other process uses the mirror."""
        found = {name: entry for name, entry in self.entries().items() if entry != NOTHING}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        with written(self.file) as aside:
            aside.write_bytes(_lines(found))
        with self._lock:
            self._entries, self._position = {}, 0


def _lines(entries: dict[str, Common]) -> bytes:
    return "".join(json.dumps([name, *entry], separators=(",", ":")) + "\n" for name, entry in entries.items()).encode()


def _note(entries: dict[str, Common], line: bytes) -> None:
    """Take over one line; what is no entry is skipped."""
    with contextlib.suppress(ValueError, TypeError, RecursionError):
        name, here, there = json.loads(line)
        if isinstance(name, str):
            entries[name] = Common(here and Local(*here), there and Stamp(*there))
