"""The contracts of what runs trials and of what watches them run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from raprune.engine.inputs import Inputs
from raprune.launch.execute import Place
from raprune.study import StudyPlan, TrialSpec
from raprune.trial.budget import Account


class Watch(Protocol):
    """Watches a study run."""

    def phase(self, text: str) -> None:
        """What the study is doing now."""

    def told(self, trial_id: str, progress: dict[str, Any]) -> None:
        """A trial reported ``progress``."""

    def ended(self, trial_id: str, status: str, folder: Path) -> None:
        """A trial ended, with its status and the folder of its files."""


@dataclass(frozen=True)
class Launch:
    """A study's run, as it was asked for."""

    plan: StudyPlan
    out: Path
    todo: Sequence[TrialSpec]
    """The trials that are to be run."""
    count: int | str
    """Of evaluators: a number, or ``auto``."""
    address: str | None = None
    """Of a running Ray cluster."""
    account: Account | None = None
    """Of the study's budget."""
    inputs: Inputs = field(default_factory=Inputs)
    """What the run reads."""


class Runner(Protocol):
    """Runs trials somewhere."""

    place: Place

    def prepare(self, trials: Sequence[TrialSpec]) -> None:
        """Put the baselines of ``trials`` on disk. Raises :class:`InputError` for an unusable one."""

    def run(self, trials: Sequence[TrialSpec], plan: StudyPlan, watch: Watch) -> Any:
        """Run trials to their rows; returns early when the study is interrupted."""
