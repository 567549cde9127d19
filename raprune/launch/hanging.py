"""Finds the trials whose processes hang: those that no longer beat, and those that never began to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from raprune.evaluators.pulse import Pulses


class Hanging:
    """Looks at the processes of the trials that run."""

    def __init__(self, pulses: Pulses) -> None:
        self._pulses = pulses
        self._begun: dict[str, tuple[Any, float]] = {}
        """Trial -> its process, and when that was first seen."""

    def among(self, running: Mapping[str, Any]) -> Iterator[str]:
        """The trials whose processes are to be killed; ``running``: a trial's id -> its process.

        Looks only where it is time to. A process that never began beside an earlier one of its trial that did counts
        from the start of its own.
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
