"""The contract of a scheduler: whether a trial goes on after a layer, beside trials that began in earlier rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pydantic import Field

from raprune.registry import Settings


@dataclass(frozen=True)
class Standing:
    """A trial after some layers."""

    macs: int
    """Multiply-adds of its network so far."""
    drop: float
    """Points of validation score that it has lost so far."""

    def dominates(self, other: Standing) -> bool:
        """Whether it is at least as good in both, and better in one."""
        return self != other and self.macs <= other.macs and self.drop <= other.drop


class SchedulerSettings(Settings):
    at_once: int = Field(default=4, ge=1)
    """Trials of a round, where no search says it: a trial is compared with those of the rounds before its own."""


class Scheduler(Protocol):
    """Decides from numbers alone, so the same trials end at the same layers wherever and however they run."""

    def stops(self, num_layers: int, own: Standing, others: Sequence[Standing]) -> bool:
        """Whether a trial ends after ``num_layers`` layers; ``others`` stood there when they had decided the same ones.

        It is asked after each layer but the last.
        """
