"""The evaluators that may be called now: written by the driver, read by every process that hands out calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from raprune.evaluators.backend import Backend

KEY = "pool"


@dataclass(frozen=True)
class Listing:
    """What the roster says."""

    names: tuple[str, ...] = ()
    ended: str = ""
    """Why there will never be another evaluator, as a sentence without its full stop; empty while there may be."""


class Roster:
    """One entry in the cluster's own store, so that reading it asks no process."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def write(self, names: Sequence[str], ended: str = "") -> None:
        self._backend.write(KEY, json.dumps([list(names), ended]))

    def read(self) -> Listing | None:
        """``None`` while the store cannot be reached."""
        value = self._backend.read(KEY)
        if value is None:
            return None
        names, ended = json.loads(value)
        return Listing(tuple(names), ended)
