"""Signs of life: a process that others wait for beats; one whose beats stop is killed and restarted.

A beat is an entry in the cluster's own key-value store, so a process that may not answer is never asked. A thread of
its own writes the beats. They stop when the process does (suspended, or in code that never releases the interpreter),
and when the current call hangs: its thread used no processor for minutes, or it has run a hundred times as long as the
longest call of its kind. A call's length alone says nothing: it may be queued behind another trial's fine-tune, or
train a baseline for a day.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

BEAT_S = 5.0
SILENT_S = 60.0
"""A process that has not beaten for this long hangs."""
IDLE_S, BUSY_S = 300.0, 0.01
"""A call hangs if in ``IDLE_S`` seconds it uses less than ``BUSY_S`` seconds of processor time."""
LONGER, LONG_S = 100.0, 3600.0
"""A call hangs if it runs ``LONGER`` times as long as the longest of its kind, and longer than ``LONG_S`` seconds."""
STORE = b"raprune"


@dataclass
class _InHand:
    """The call that is running."""

    kind: str
    thread: int
    began: float
    used_s: float
    """Processor time of its thread when it was last seen to use any."""
    used_at: float


class Pulse:
    """Beats for this process until it is stopped or hangs."""

    def __init__(self, namespace: str, name: str) -> None:
        self._key = _key(namespace, name)
        self._call: _InHand | None = None
        self._longest: dict[str, float] = {}
        self._stopped = threading.Event()
        threading.Thread(target=self._beat, daemon=True, name="pulse").start()

    @contextlib.contextmanager
    def during(self, kind: str) -> Iterator[None]:
        """Mark the block as a call of ``kind``, run by this thread."""
        now, thread = time.monotonic(), threading.get_ident()
        self._call = _InHand(kind, thread, now, _thread_s(thread), now)
        try:
            yield
        finally:
            self._call = None
            self._longest[kind] = max(self._longest.get(kind, 0.0), time.monotonic() - now)

    def stop(self) -> None:
        self._stopped.set()

    def hangs(self) -> bool:
        """Whether the current call hangs."""
        call, now = self._call, time.monotonic()
        if call is None:
            return False
        used_s = _thread_s(call.thread)
        if used_s - call.used_s >= BUSY_S:
            call.used_s, call.used_at = used_s, now
        longest = self._longest.get(call.kind)
        too_long = longest is not None and now - call.began > max(LONG_S, LONGER * longest)
        return too_long or now - call.used_at > IDLE_S

    def _beat(self) -> None:
        number = 0
        about = {"host": socket.gethostname(), "process": os.getpid()}
        while not self._stopped.wait(0 if number == 0 else BEAT_S):
            number += 1
            if not self.hangs():
                with contextlib.suppress(Exception):  # the store is gone: whoever waits notices
                    _put(self._key, json.dumps({**about, "number": number}), overwrite=True)


class Pulses:
    """The beats of the processes of a study, as another process sees them."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self._seen: dict[str, tuple[dict[str, Any], float]] = {}
        """Name -> the last beat, and when it was first seen by this process's clock."""
        self._looked = 0.0

    def is_due(self) -> bool:
        """Whether it is time to look again."""
        due = time.monotonic() - self._looked > min(BEAT_S, SILENT_S / 4)
        if due:
            self._looked = time.monotonic()
        return due

    def is_silent(self, name: str) -> bool:
        """Whether a process that beat before has stopped."""
        beat = self._read(name)
        if beat is None:
            return False
        seen, since = self._seen.get(name, (None, 0.0))
        if beat != seen:
            self._seen[name] = (beat, time.monotonic())
            return False
        return time.monotonic() - since > SILENT_S

    def claim(self, name: str) -> bool:
        """Whether this process is the one to kill the silent process; only one of those that wait for it is."""
        beat, _ = self._seen.pop(name)
        try:
            return not _put(_key(self.namespace, f"{name} {beat['host']} {beat['process']} ended"), "", overwrite=False)
        except Exception:  # no store: then there is no cluster in which to kill anything
            return False

    def place(self, name: str) -> str:
        """``host a, process 7``; empty for a process that has never beaten."""
        beat = self._read(name) or self._seen.get(name, (None, 0.0))[0]
        return "" if beat is None else f"host {beat['host']}, process {beat['process']}"

    def _read(self, name: str) -> dict[str, Any] | None:
        from ray.experimental.internal_kv import _internal_kv_get

        try:
            value = _internal_kv_get(_key(self.namespace, name), namespace=STORE)
        except Exception:  # as above
            return None
        beat: dict[str, Any] | None = json.loads(value) if value else None
        return beat


def forget_beats(namespace: str) -> None:
    """Remove a study's entries from the store of a cluster that outlives it."""
    from ray.experimental.internal_kv import _internal_kv_del

    with contextlib.suppress(Exception):
        _internal_kv_del(_key(namespace, ""), del_by_prefix=True, namespace=STORE)


def _key(namespace: str, name: str) -> bytes:
    return f"{namespace}/{name}".encode()


def _put(key: bytes, value: str, *, overwrite: bool) -> bool:
    """Store ``value``; returns whether the key was there already."""
    from ray.experimental.internal_kv import _internal_kv_put

    return bool(_internal_kv_put(key, value.encode(), overwrite=overwrite, namespace=STORE))


def _thread_s(thread: int) -> float:
    """Processor time of a thread; of the whole process where the system has no clock for threads."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.process_time()
    return time.clock_gettime(time.pthread_getcpuclockid(thread))
