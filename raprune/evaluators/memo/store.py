"""The memo on disk: append-only JSON Lines in one folder, a file for each process that writes.

Only whole lines count: a process that is killed while it writes leaves a last line without a line end, which nobody
reads. Processes on all hosts that share the folder read what the others add. Only the entries of the layers being
decided are held in memory; those of another layer are read where they lie (``lines.py``). Deleting the folder, even in
the middle of a study, loses nothing but time.
"""

from __future__ import annotations

import errno
import json
import os
import re
import socket
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from pathlib import Path

from raprune.errors import naming
from raprune.evaluators.memo.conditions import SCOPE_DIGITS
from raprune.evaluators.memo.lines import SUFFIX, Lines
from raprune.plugins.scores.base import Tally
from raprune.system.store import publish_later

FIELDS = {"key", *(f.name for f in fields(Tally))}
"""The fields of a line."""
KINDS = {"key": str, "counts": list, "seen": list, "num_images": int, "highest": int | float, "complete": bool}
"""What each field of a line must be."""
MAX_SCOPES = 4
"""Scopes held in memory; a trial needs one layer after another."""
MAX_PAUSE_S = 1.0
PART_BYTES = 4 * 2**20
"""A process begins another file beyond this, so that results on a store are not sent again and again as a whole."""
SHARE = 0.05
"""Largest share of the time that reading what others added may take, and writing for them."""


class Memo:
    """Tallies by key, from this and all other processes. A key starts with its scope; a scope is held as a whole."""

    def __init__(self, folder: Path, writer: str | None = None) -> None:
        """``writer`` names the file to write to; processes that run at the same time need different names."""
        self.folder = folder
        self._writer = writer or writer_name(uuid.uuid4().hex)
        self._part = 0
        self._lines = Lines(folder)
        self._scopes: OrderedDict[str, dict[str, Tally]] = OrderedDict()
        """The entries of the last layers, as far as the files have been read."""
        self._fresh: set[str] = set()
        """Those for which the folder was not read since they are held."""
        self._next_look = 0.0
        """Time (monotonic) before which the folder is not read again for a layer that is held."""
        self._waiting: list[str] = []
        """Lines to be written."""
        self._next_write = 0.0
        """Time (monotonic) until which entries that may wait are not written."""

    def find(self, keys: Iterable[str], lowest: float | None) -> dict[str, Tally]:
        """What is known of ``keys``, all of one scope; reads the others' files if that does not decide ``lowest``."""
        wanted = list(keys)
        if not wanted:
            return {}
        scope = wanted[0][:SCOPE_DIGITS]
        known = self._hold(scope)
        is_due = scope in self._fresh or time.monotonic() >= self._next_look
        if is_due and any(k not in known or not known[k].decides(lowest) for k in wanted):
            self.look(scope)
        return {key: known[key] for key in wanted if key in known}

    def look(self, scope: str) -> None:
        """Read what was added since the last look: to the scope, and to the others that are held."""
        start = time.monotonic()
        self._hold(scope)
        held = {scope.encode(): entries for scope, entries in self._scopes.items()}
        for name, line in self._lines.new(held):
            if entry := _parse(line):
                _keep(held[name], *entry)
        self._fresh.clear()
        self._next_look = _after(start)

    def hold(self, entries: Mapping[str, Tally]) -> dict[str, Tally]:
        """Keep the tallies that say more than what is known, in memory only; returns them."""
        return {key: tally for key, tally in entries.items() if _keep(self._hold(key[:SCOPE_DIGITS]), key, tally)}

    def add(self, entries: Mapping[str, Tally], *, may_wait: bool = False) -> None:
        """As :meth:`hold`, and write them for the other processes.

        What ``may_wait`` does so while writing takes too large a share of the time: at most a second, or until
        :meth:`flush`.
        """
        for key, tally in self.hold(entries).items():
            self._waiting.append(json.dumps({"key": key, **asdict(tally)}, separators=(",", ":")) + "\n")
        if not may_wait or time.monotonic() >= self._next_write:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        lines, self._waiting = self._waiting, []
        start = time.monotonic()
        self._append("".join(lines).encode())
        self._next_write = _after(start)

    def _hold(self, scope: str) -> dict[str, Tally]:
        """The entries of a scope; where it was not held, with those in what has been read."""
        if scope not in self._scopes:
            entries = self._scopes[scope] = {}
            self._fresh.add(scope)
            for line in self._lines.of(scope.encode()):
                if entry := _parse(line):
                    _keep(entries, *entry)
        self._scopes.move_to_end(scope)
        while len(self._scopes) > MAX_SCOPES:
            self._fresh.discard(self._scopes.popitem(last=False)[0])
        return self._scopes[scope]

    def _append(self, data: bytes) -> None:
        """Append lines to this process's file; closed each time, since a network file system shows them only then."""
        part = f"-{self._part}" if self._part else ""
        place = self.folder / f"{self._writer}{part}{SUFFIX}"
        with naming(place):
            self.folder.mkdir(exist_ok=True)
            file = os.open(place, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                size = os.fstat(file).st_size
                if size and os.pread(file, 1, size - 1) != b"\n":
                    data = b"\n" + data  # ends a torn line, which nobody can read
                written = os.write(file, data)
            finally:
                os.close(file)
            if written != len(data):
                raise OSError(errno.ENOSPC, f"only {written} of {len(data)} bytes could be written")
        self._part += size + written > PART_BYTES
        publish_later(place)


def writer_name(unique: str) -> str:
    """The name of a file that nobody else writes to, provided that nobody else on this host uses ``unique``."""
    host = re.sub(r"[^A-Za-z0-9.-]+", "-", socket.gethostname())
    return f"{host}-{os.getpid()}-{unique[:8]}"


def _after(start: float) -> float:
    """When to do again what began at ``start`` and ends now."""
    now = time.monotonic()
    return now + min(MAX_PAUSE_S, (now - start) / SHARE)


def _keep(entries: dict[str, Tally], key: str, tally: Tally) -> bool:
    """Whether ``tally`` says more than what is known, and so replaces it."""
    known = entries.get(key)
    if known is not None and (tally.num_images, tally.complete) <= (known.num_images, known.complete):
        return False
    entries[key] = tally
    return True


def _parse(line: bytes) -> tuple[str, Tally] | None:
    """Key and tally; ``None`` for what is no entry: after a power failure a file may contain anything."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or set(entry) != FIELDS:
        return None
    if any(not isinstance(entry[name], kind) for name, kind in KINDS.items()):
        return None
    key: str = entry.pop("key")
    return (key, Tally(**entry)) if _is_sound(entry) else None


def _is_sound(entry: Mapping[str, object]) -> bool:
    """Whether an entry's values are of a tally's types."""
    images, highest = entry["num_images"], entry["highest"]
    counts = all(isinstance(entry[key], list) and _are_numbers(entry[key]) for key in ("counts", "seen"))
    numbers = isinstance(images, int) and images >= 0 and isinstance(highest, int | float)
    return counts and numbers and isinstance(entry["complete"], bool)


def _are_numbers(value: object) -> bool:
    if isinstance(value, list):
        return all(map(_are_numbers, value))
    return isinstance(value, int | float) and not isinstance(value, bool)
