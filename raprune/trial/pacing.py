"""Whether a trial goes on: where it stands after its layers, beside trials of earlier rounds at the same layers."""

from __future__ import annotations

from dataclasses import dataclass

from raprune.plugins.schedulers.base import Scheduler, Standing
from raprune.registry import SCHEDULERS
from raprune.results import TrialStore
from raprune.study import Choice


@dataclass(frozen=True)
class Course:
    """A trial's layers in the order of deciding, and where it stood after each."""

    baseline_key: str
    layers: tuple[str, ...]
    standings: tuple[Standing, ...]

    @classmethod
    def of(cls, store: TrialStore, baseline_key: str, baseline_score: float) -> Course:
        """From the committed layers on disk."""
        rows = store.layer_rows()
        standings = (Standing(row["macs"], baseline_score - row["finetuned_val_score"]) for row in rows)
        return cls(baseline_key, tuple(row["layer"] for row in rows), tuple(standings))

    def at(self, other: Course) -> Standing | None:
        """Where it stood when it had decided the layers of ``other``; ``None`` where it decided others first."""
        number = len(other.layers)
        same = self.baseline_key == other.baseline_key and set(self.layers[:number]) == set(other.layers)
        return self.standings[number - 1] if same and number else None


@dataclass(frozen=True)
class Pace:
    """A scheduler, and the trials of earlier rounds, with which it compares; picklable."""

    scheduler: Choice
    earlier: tuple[Course, ...]

    def stops(self, own: Course) -> bool:
        """Whether the trial ends here."""
        if not own.layers:
            return False
        scheduler: Scheduler = SCHEDULERS.build(self.scheduler.name, self.scheduler.settings)
        others = [standing for one in self.earlier if (standing := one.at(own)) is not None]
        return scheduler.stops(len(own.layers), own.standings[-1], others)
