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

    def write(self, names: Sequence[str], ended: str = "") -> bool:
        """Returns whether it was written: not while the store cannot be reached."""
        return self._backend.write(KEY, json.dumps([list(names), ended]))

    def read(self) -> Listing | None:
        """``None`` while the store cannot be reached."""
        value = self._backend.read(KEY)
        if value is None:
            return None
        names, ended = json.loads(value)
        return Listing(tuple(names), ended)


def refuse(backend: Backend, name: str) -> None:
    """Note that an evaluator cannot start on this process's machine, because it differs from the study's own."""
    backend.write(_refusal(name), backend.here())


def refused_on(backend: Backend, name: str) -> set[str]:
    """The machine, by id, on which an evaluator could not start because it differs; empty without one."""
    node = backend.read(_refusal(name))
    return set() if node is None else {node}


def _refusal(name: str) -> str:
    return f"{name} refused"
