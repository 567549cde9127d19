"""What runs next: the trials of a sweep, all at once or in rounds, or those that a search suggests round by round.

A round begins when all trials of the rounds before it have ended. So what is suggested, and what a scheduler stops,
depends neither on timing nor on the number of evaluators.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

from raprune.launch.suggesting import Suggestions
from raprune.results import TrialStore
from raprune.study import Choice, StudyPlan, TrialSpec
from raprune.trial.pacing import Course, Pace

Tell = Callable[[str], None]


class Rounds(Protocol):
    """The rounds of a study."""

    @property
    def plan(self) -> StudyPlan:
        """With the trials that are known so far."""

    def next(self, unfinished: Callable[[TrialSpec], bool]) -> Sequence[TrialSpec]:
        """The ``unfinished`` trials of the next round that has any; empty at the end."""

    def earlier(self) -> Sequence[TrialSpec]:
        """The trials of the rounds before the current one."""


def rounds_of(plan: StudyPlan, out: Path, tell: Tell) -> Rounds:
    """The rounds of ``plan`` in the folder ``out``."""
    return Swept(plan) if plan.spec.search is None else Searched(plan, out, tell)


class Swept:
    """The trials of a sweep, then those matched to them; in rounds where a scheduler compares them."""

    def __init__(self, plan: StudyPlan) -> None:
        self._plan = plan
        searched = [trial for trial in plan.trials if not trial.matched_trial_id]
        at_once = len(searched) if plan.spec.scheduler is None else plan.spec.scheduler.settings["at_once"]
        self._waiting = [*_chunks(searched, at_once), [trial for trial in plan.trials if trial.matched_trial_id]]
        self._begun: list[list[TrialSpec]] = []

    @property
    def plan(self) -> StudyPlan:
        """All of it."""
        return self._plan

    def next(self, unfinished: Callable[[TrialSpec], bool]) -> Sequence[TrialSpec]:
        while self._waiting:
            self._begun.append(self._waiting.pop(0))
            if left := [trial for trial in self._begun[-1] if unfinished(trial)]:
                return left
        return []

    def earlier(self) -> Sequence[TrialSpec]:
        return [trial for one in self._begun[:-1] for trial in one]


class Searched:
    """The suggestions of a search."""

    def __init__(self, plan: StudyPlan, out: Path, tell: Tell) -> None:
        assert plan.spec.search is not None
        self._suggestions = Suggestions(plan, out, tell)
        self._search = plan.spec.search
        self._begun = 0
        self._first = 0
        if not self._suggestions.trials:  # the first round, which needs no result
            for number in range(min(self._search.at_once, self._search.trials)):
                self._suggestions.get(number, 0)

    @property
    def plan(self) -> StudyPlan:
        """With the trials suggested so far."""
        return self._suggestions.plan

    def next(self, unfinished: Callable[[TrialSpec], bool]) -> Sequence[TrialSpec]:
        while self._begun < self._search.trials:
            self._first = self._begun
            self._begun = min(self._first + self._search.at_once, self._search.trials)
            trials = [self._suggestions.get(number, self._first) for number in range(self._first, self._begun)]
            distinct = {trial.trial_id: trial for trial in trials}.values()
            if left := [trial for trial in distinct if unfinished(trial)]:
                return left
        return []

    def earlier(self) -> Sequence[TrialSpec]:
        return self._suggestions.trials[: self._first]


class Paces:
    """What the trials of a round are compared with, if the study has a scheduler."""

    def __init__(self, scheduler: Choice | None, store: Callable[[TrialSpec], TrialStore]) -> None:
        self._scheduler, self._store = scheduler, store
        self._known: dict[str, Course] = {}

    def of(self, earlier: Iterable[TrialSpec]) -> Pace | None:
        """The pace beside the trials of the ``earlier`` rounds."""
        if self._scheduler is None:
            return None
        ids = dict.fromkeys(trial.trial_id for trial in earlier)
        for trial in earlier:
            if trial.trial_id not in self._known and (found := self._course(trial)) is not None:
                self._known[trial.trial_id] = found
        return Pace(self._scheduler, tuple(self._known[name] for name in ids if name in self._known))

    def _course(self, trial: TrialSpec) -> Course | None:
        """The course of a trial that has ended with scores."""
        store = self._store(trial)
        row = store.trial_row()
        if row is None or row["status"] == "failed" or row["baseline_val_score"] is None:
            return None
        return Course.of(store, trial.baseline_key, row["baseline_val_score"])


def _chunks(trials: Sequence[TrialSpec], size: int) -> list[list[TrialSpec]]:
    waiting = iter(trials)
    return [chunk for _ in range(0, len(trials), max(1, size)) if (chunk := list(islice(waiting, size)))]
