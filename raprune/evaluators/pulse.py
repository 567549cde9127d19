"""Signs of life: a process that others wait for beats; one whose beats stop is killed and restarted.

A beat is an entry in the cluster's own key-value store, so a process that may not answer is never asked. A thread of
its own writes the beats. They stop when the process does (suspended, or in code that never releases the interpreter),
and when the thread of the current call used no processor for minutes. A call that computes for ever still beats: each
beat says for how long it has run and how long the earlier ones took, and those of all evaluators set its deadline. A
call's length alone says nothing: it may train a baseline for a day.
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

from raprune.evaluators.backend import Backend

BEAT_S = 5.0
SILENT_S = 60.0
"""A process that has not beaten for this long hangs."""
START_S = 600.0
"""A process that after this long has never beaten does not start any more."""
IDLE_S, BUSY_S = 300.0, 0.01
"""A call hangs if in ``IDLE_S`` seconds it uses less than ``BUSY_S`` seconds of processor time."""
LONGER, LONG_S = 30.0, 600.0
"""A call hangs if it runs ``LONGER`` times as long as the longest of its kind, and longer than ``LONG_S`` seconds."""
PAUSED_S = 2 * BEAT_S
"""Two looks, or two beats, that lie further apart: this process stood still in between, and most likely its host."""
MOST_KINDS = 50
"""Kinds of calls, the latest ones, whose lengths a beat tells."""


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

    def __init__(self, backend: Backend, name: str) -> None:
        self._backend, self._name = backend, name
        self._call: _InHand | None = None
        self._longest: dict[str, float] = {}
        self._paused, self._ticked, self._lock = 0.0, time.monotonic(), threading.Lock()
        self._stopped = threading.Event()
        threading.Thread(target=self._beat, daemon=True, name="pulse").start()

    @contextlib.contextmanager
    def during(self, kind: str) -> Iterator[None]:
        """Mark the block as a call of ``kind``, run by this thread."""
        now, thread = self._now(), threading.get_ident()
        self._call = _InHand(kind, thread, now, _thread_s(thread), now)
        try:
            yield
        finally:
            self._call = None
            longest = max(self._longest.pop(kind, 0.0), self._now() - now)
            self._longest = dict([*self._longest.items(), (kind, longest)][-MOST_KINDS:])

    def stop(self) -> None:
        self._stopped.set()

    def hangs(self) -> bool:
        """Whether the current call stands still."""
        call, now = self._call, self._now()
        if call is None:
            return False
        used_s = _thread_s(call.thread)
        if used_s - call.used_s >= BUSY_S:
            call.used_s, call.used_at = used_s, now
        return now - call.used_at > IDLE_S

    def _now(self, *, ticks: bool = False) -> float:
        """Seconds on a clock that stands still with this process; ``ticks``: the thread that beats has come by."""
        with self._lock:
            now = time.monotonic()
            if now - self._ticked > PAUSED_S:
                self._paused += now - self._ticked - BEAT_S
                ticks = True
            self._ticked = now if ticks else self._ticked
            return now - self._paused

    def _beat(self) -> None:
        number = 0
        about = {"host": socket.gethostname(), "process": os.getpid(), "node": self._backend.here()}
        while not self._stopped.wait(0 if number == 0 else BEAT_S):
            number += 1
            now = self._now(ticks=True)
            if not self.hangs():
                call = self._call
                running = {} if call is None else {"call": call.kind, "for_s": now - call.began}
                self._backend.write(
                    self._name, json.dumps({**about, "number": number, "longest": self._longest, **running})
                )


class Pulses:
    """The beats of the processes of a study, as another process sees them."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._seen: dict[str, tuple[dict[str, Any], float]] = {}
        """Name -> the last beat, and when it was first seen, less the pauses before it."""
        self._news: dict[str, tuple[dict[str, Any], float]] = {}
        """The same, whether or not the process was claimed since."""
        self._looked = float("-inf")
        self._paused = 0.0
        """Seconds for which this process did not look: nothing follows from what it did not see then."""
        self._longest: dict[str, float] = {}
        """Kind of call -> the longest, of all processes whose beats were read."""

    def is_due(self) -> bool:
        """Whether it is time to look again."""
        since = self._backend.now() - self._looked
        due = since > min(BEAT_S, SILENT_S / 4)
        if due:
            self._paused += since - BEAT_S if PAUSED_S < since < float("inf") else 0.0
            self._looked = self._backend.now()
        return due

    def never_began(self, name: str, seconds: float) -> bool:
        """Whether a process that has been there for so many seconds has not beaten in them, and will not any more."""
        beat, since = self._news.get(name, (None, 0.0))
        silent_s = float("inf") if beat is None else self.now() - since
        return min(seconds, silent_s) > START_S

    def now(self) -> float:
        """Seconds on a clock that stands still while nobody looks."""
        return self._backend.now() - self._paused

    def hangs(self, name: str) -> bool:
        """Whether a process that beat before has stopped, or has been in one call for too long."""
        beat = self._read(name)
        if beat is None:
            return False
        if beat != self._news.get(name, (None, 0.0))[0]:
            self._news[name] = (beat, self.now())
        for kind, seconds in beat.get("longest", {}).items():
            self._longest[kind] = max(self._longest.get(kind, 0.0), seconds)
        longest = self._longest.get(beat.get("call", ""))
        if longest is not None and beat["for_s"] > max(LONG_S, LONGER * longest):
            self._seen.setdefault(name, (beat, self.now()))
            return True
        seen, since = self._seen.get(name, (None, 0.0))
        if beat != seen:
            self._seen[name] = (beat, self.now())
            return False
        return self.now() - since > SILENT_S

    def claim(self, name: str) -> bool:
        """Whether this process is the one to kill the silent process; only one of those that wait for it is."""
        beat, _ = self._seen.pop(name)
        return self._backend.write(f"{name} {beat['host']} {beat['process']} ended", "1", overwrite=False)

    def place(self, name: str) -> str:
        """``host a, process 7``; empty for a process that has never beaten."""
        beat = self._read(name) or self._seen.get(name, (None, 0.0))[0]
        return "" if beat is None else f"host {beat['host']}, process {beat['process']}"

    def node(self, name: str) -> str:
        """The id of the node from which a process last beat; empty where it never did."""
        beat = self._read(name) or self._seen.get(name, (None, 0.0))[0]
        return "" if beat is None else str(beat["node"])

    def _read(self, name: str) -> dict[str, Any] | None:
        value = self._backend.read(name)
        beat: dict[str, Any] | None = json.loads(value) if value else None
        return beat


def _thread_s(thread: int) -> float:
    """Processor time of a thread; of the whole process where the system has no clock for threads."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.process_time()
    return time.clock_gettime(time.pthread_getcpuclockid(thread))
