"""Finds the trials whose processes hang: those that no longer beat, and those that never began to.

Tune does not know a trial's process before it is there, so one that stands still while it imports is found in Ray's
table of actors.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from raprune.evaluators.backend import LostError
from raprune.evaluators.pulse import START_S, Pulses

TRIAL = "ImplicitFunc"
"""The class of Tune's actors that run a function."""
LOOK_S = 30.0
"""Seconds between two looks at the table of actors, which is long on a large cluster."""


class Hanging:
    """Looks at the processes of the trials that run."""

    def __init__(self, pulses: Pulses) -> None:
        self._pulses = pulses
        self._begun: dict[str, tuple[Any, float]] = {}
        """Trial -> its process, and when that was first seen."""

    def among(self, running: Mapping[str, Any]) -> Iterator[str]:
        """The trials whose processes are to be killed; ``running``: a trial's id -> its process.

        Looks only when it is time to. A trial's new process has all of its time, whatever became of the one before it.
        """
        if not self._pulses.is_due():
            return
        now = self._pulses.now()
        self._begun = {
            name: self._begun[name] if name in self._begun and self._begun[name][0] == process else (process, now)
            for name, process in running.items()
        }
        for name, (_, since) in self._begun.items():
            hangs = self._pulses.hangs(name) and self._pulses.claim(name)
            if hangs or self._pulses.never_began(name, now - since):
                yield name


class Actors(Protocol):
    """This program's actors, as the cluster's table has them (:class:`raprune.evaluators.ray_backend.RayBackend`)."""

    def now(self) -> float:
        """Seconds on a steady clock."""

    def starting(self, class_name: str) -> list[str]:
        """The ids of those of a class that have a process and are not there yet.

        Raises :class:`LostError` while the cluster's head does not answer.
        """

    def kill_starting(self, actor_id: str) -> None:
        """Kill one of them; whoever waits for it is told that it died."""


class Starting:
    """Kills trials' processes that are started and never there; Tune starts them again."""

    def __init__(self, backend: Actors) -> None:
        self._backend = backend
        self._since: dict[str, float] = {}
        """Actor -> when it was first seen to start."""
        self._looked = float("-inf")

    def see(self) -> None:
        """Look, where it is time to. A pause of this process gives all of them their time again."""
        now = self._backend.now()
        if now - self._looked < LOOK_S:
            return
        before = self._since if now - self._looked < 2 * LOOK_S else {}
        self._looked = now
        with contextlib.suppress(LostError):
            self._since = {actor: before.get(actor, now) for actor in self._backend.starting(TRIAL)}
        for actor, since in list(self._since.items()):
            if now - since > START_S:
                del self._since[actor]
                self._backend.kill_starting(actor)
