"""Keeps two machines off one study: an object for each driver, written again and again while it lives.

pyarrow's file systems have no conditional write, so this is advice, not a lock. Every driver writes an object of its
own, then lists those of the others; stores show a list that is up to date. Two that begin in the same instant both give
way. One that was suspended, or cut off for more than STALE_S, asks again before it goes on, and ends if another has
begun meanwhile. What it sent in between are files of the same trials, with the same rows.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
import uuid
from pathlib import Path

from raprune.errors import ResultsError, StorageError
from raprune.system.store.journal import FOLDER
from raprune.system.store.remote import Remote, Stamp

CLAIMS = ".claims"
BEAT_S = 15.0
STALE_S = 90.0
"""A driver without a sign of life for so long counts as dead."""


class Claim:
    """One driver's claim on a study's address."""

    def __init__(self, root: Path, remote: Remote) -> None:
        self.remote = remote
        self.name = f"{_id_of(root)}.json"
        self._beaten = 0.0

    def take(self) -> None:
        """Write it. Raises :class:`ResultsError` where another driver holds the study."""
        now = self._put()
        for name, stamp in self.remote.hidden(CLAIMS).items():
            if name == self.name:
                continue
            silent_s = now.second - stamp.second
            if silent_s < STALE_S:
                other = holder_in(self.remote, name)
                self.drop()
                raise ResultsError(
                    f"{self.remote.address} is in use by {other}, last heard of {max(0, silent_s)} s ago: "
                    f"choose another address with --out; if it was killed, try again in {STALE_S - silent_s:.0f} s"
                )
            self.remote.delete(f"{CLAIMS}/{name}")

    def beat(self) -> None:
        """Write it again. Raises :class:`ResultsError` where another driver took over while this one was silent."""
        if time.monotonic() - self._beaten > STALE_S - 2 * BEAT_S:
            self.take()
        else:
            self._put()

    def _put(self) -> Stamp:
        name = f"{CLAIMS}/{self.name}"
        self.remote.put(name, json.dumps({"holder": f"process {os.getpid()} on {os.uname().nodename}"}).encode())
        stamp = self.remote.stamps_of([name]).get(name)
        if stamp is None:
            raise StorageError(f"{self.remote.address} does not keep what is written to it")
        self._beaten = time.monotonic()
        return stamp

    def drop(self) -> None:
        """Give the study free; if that fails, the claim ends by itself."""
        with contextlib.suppress(StorageError):
            self.remote.delete(f"{CLAIMS}/{self.name}")


def holder(remote: Remote) -> str | None:
    """Who runs the study, as far as this machine's clock can tell; ``None`` where nobody does."""
    for name, stamp in remote.hidden(CLAIMS).items():
        if time.time() - stamp.second < STALE_S:
            return holder_in(remote, name)
    return None


def holder_in(remote: Remote, name: str) -> str:
    with contextlib.suppress(StorageError, ValueError, RecursionError):
        found = json.loads(remote.get(f"{CLAIMS}/{name}"))
        if isinstance(found, dict) and isinstance(found.get("holder"), str):
            return str(found["holder"])[:200]
    return "another process"


def _id_of(root: Path) -> str:
    """The name of a mirror's claims: a process that takes over the mirror replaces the claim of the one that died."""
    file = root / FOLDER / "id"
    file.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError, ValueError):
        return uuid.UUID(file.read_text(encoding="ascii")).hex
    name = uuid.uuid4().hex
    file.write_text(name, encoding="ascii")
    return name
