"""What the processes of a study want its console to say, through the cluster's own store."""

from __future__ import annotations

from raprune.evaluators.backend import Backend

MOST = 100
"""Notices of a study that are told; a fault that repeats would fill the console."""
LOOK_S = 2.0
"""Seconds between two looks for new ones."""


class Notices:
    """One list for all processes of a study: each may add to it, and one reads it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._next = 0
        """Those up to here are known to be there."""
        self._due = float("-inf")

    def add(self, text: str) -> None:
        """Add a sentence at the end; where the store does not answer, it is lost."""
        while self._next < MOST and not self._backend.write(_key(self._next + 1), text, overwrite=False):
            if self._backend.read(_key(self._next + 1)) is None:
                return
            self._next += 1

    def new(self, *, at_once: bool = False) -> list[str]:
        """Those that were added since the last time; none where it is not yet time to look, unless ``at_once``."""
        found: list[str] = []
        if self._backend.now() < self._due and not at_once:
            return found
        self._due = self._backend.now() + LOOK_S
        while (text := self._backend.read(_key(self._next + 1))) is not None:
            self._next += 1
            found.append(text)
        return found


def _key(number: int) -> str:
    return f"notice {number}"
