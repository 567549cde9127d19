"""The contracts of the runners of trials and of their watchers."""

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

    def planned(self, plan: StudyPlan) -> None:
        """The trials that will run; told again with those that come to them while the study runs."""

    def note(self, text: str) -> None:
        """Something that a person should know; the study goes on."""

    def phase(self, text: str) -> None:
        """The study entered the phase ``text``; empty while trials run."""

    def evaluators(self, text: str) -> None:
        """Candidates are computed by ``text``: how many evaluators, and where."""

    def told(self, trial_id: str, progress: dict[str, Any]) -> None:
        """A trial reported ``progress``."""

    def ended(self, trial_id: str, status: str, folder: Path) -> None:
        """A trial ended, with its status and the folder of its files."""


class Passing:
    """Passes everything on to another watch: the base of watches that also do something with what they see."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    def planned(self, plan: StudyPlan) -> None:
        self._watch.planned(plan)

    def note(self, text: str) -> None:
        self._watch.note(text)

    def phase(self, text: str) -> None:
        self._watch.phase(text)

    def evaluators(self, text: str) -> None:
        self._watch.evaluators(text)

    def told(self, trial_id: str, progress: dict[str, Any]) -> None:
        self._watch.told(trial_id, progress)

    def ended(self, trial_id: str, status: str, folder: Path) -> None:
        self._watch.ended(trial_id, status, folder)


@dataclass(frozen=True)
class Launch:
    """A study's run, as requested."""

    plan: StudyPlan
    out: Path
    todo: Sequence[TrialSpec]
    """The trials to run."""
    count: int | str
    """Number of evaluators, or ``auto``."""
    address: str | None = None
    """Address of a running Ray cluster; ``None`` starts one here."""
    account: Account | None = None
    """Account of the study's budget, if it has one."""
    inputs: Inputs = field(default_factory=Inputs)
    """What the run reads."""


class Runner(Protocol):
    """Runs trials: in this process, or on a cluster."""

    place: Place

    def prepare(self, trials: Sequence[TrialSpec]) -> None:
        """Put the baselines of ``trials`` on disk. Raises :class:`InputError` for an unusable one."""

    def run(self, trials: Sequence[TrialSpec], plan: StudyPlan, watch: Watch) -> Any:
        """Run trials to their rows; returns early when the study is interrupted."""
