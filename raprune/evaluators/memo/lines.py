"""The lines of a memo's files, each file read once from its beginning: where those of each scope lie.

Writers score one layer after another, so the lines of a scope lie together. Another layer costs reading these places,
not all files.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container, Iterator
from pathlib import Path

from raprune.evaluators.memo.conditions import SCOPE_DIGITS

SUFFIX = ".jsonl"
HEAD = b'{"key":"'
SCOPE = slice(len(HEAD), len(HEAD) + SCOPE_DIGITS)
"""Where a line's scope is."""
GAP_BYTES = 2**16
"""Lines of a scope this close are read as one piece, with what lies between."""


class Lines:
    """The files in one folder, which other processes add to, and which anybody may delete."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[str, int] = {}
        """File name -> bytes read."""
        self._pieces: dict[bytes, list[tuple[str, int, int]]] = {}
        """Scope -> name, first and last byte of the pieces with its lines, each file's in order."""

    def of(self, scope: bytes) -> Iterator[bytes]:
        """The lines of a scope in what was read so far; those of a file that is gone are left out."""
        head = HEAD + scope
        for name, start, end in self._pieces.get(scope, ()):
            with contextlib.suppress(OSError), (self.folder / name).open("rb") as file:
                file.seek(start)
                yield from (line for line in file.read(end - start).splitlines(True) if line.startswith(head))

    def new(self, wanted: Container[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Scope and line of all that was added since the last call, of the ``wanted`` scopes.

        Only whole lines count. A file that cannot be read is skipped.
        """
        with contextlib.suppress(OSError):  # the memo may be deleted at any time, or cannot be read
            for entry in list(os.scandir(self.folder)):
                with contextlib.suppress(OSError):
                    if entry.name.endswith(SUFFIX) and entry.is_file() and self._has_grown(entry):
                        yield from self._new_of(entry.name, wanted)

    def _has_grown(self, entry: os.DirEntry[str]) -> bool:
        size = entry.stat().st_size
        if size < self._read.get(entry.name, 0):  # it was deleted, and its process goes on writing
            del self._read[entry.name]
            for scope, pieces in self._pieces.items():
                self._pieces[scope] = [piece for piece in pieces if piece[0] != entry.name]
        return size != self._read.get(entry.name, 0)

    def _new_of(self, name: str, wanted: Container[bytes]) -> Iterator[tuple[bytes, bytes]]:
        position = begin = self._read.get(name, 0)
        last = b""
        with (self.folder / name).open("rb") as file:
            file.seek(position)
            for line in file:
                if line[-1:] != b"\n":
                    break
                scope = line[SCOPE]
                if scope != last:
                    self._note(last, name, begin, position)
                    last, begin = scope, position
                if scope in wanted and line.startswith(HEAD):
                    yield scope, line
                position += len(line)
        self._note(last, name, begin, position)
        self._read[name] = position

    def _note(self, scope: bytes, name: str, start: int, end: int) -> None:
        if len(scope) < SCOPE_DIGITS or start == end:
            return
        pieces = self._pieces.setdefault(scope, [])
        if pieces and pieces[-1][0] == name and start - pieces[-1][2] <= GAP_BYTES:
            pieces[-1] = (name, pieces[-1][1], end)
        else:
            pieces.append((name, start, end))
