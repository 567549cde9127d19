"""The suggestions of a search, kept in ``search.json``: what was suggested once is never suggested anew."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from raprune.errors import DamagedError, StudyError
from raprune.plugins.samplers.base import Axis, Sampler, Seen
from raprune.registry import SAMPLERS
from raprune.results import TrialStore, read_json, set_aside, write_json
from raprune.study import StudyPlan, TrialSpec
from raprune.study.search import Between, SearchSpec
from raprune.study.search_plan import merged, trial_at
from raprune.study.seeds import digest

FILE = "search.json"
Standing = tuple[bool, float, float]
"""How good a trial is, better where smaller: whether it was stopped, what it misses of the limits, and its value."""
ANEW = "the search begins anew; what it suggests again is not run again"


class Suggestions:
    """The trials that a search suggested so far, and the next ones."""

    def __init__(self, plan: StudyPlan, out: Path, tell: Callable[[str], None]) -> None:
        """``plan``: with the trials that stand for all. What is wrong with the file goes to ``tell``."""
        assert plan.spec.search is not None
        self._stand_ins, self._search, self._out = plan, plan.spec.search, out
        self._key = digest(self._search.model_dump(mode="json", exclude={"trials", "at_once"}), _base(plan))
        self._axes = axes_of(self._search)
        self._sampler: Sampler = SAMPLERS.build(self._search.sampler.name, self._search.sampler.settings)
        self._points: list[Mapping[str, Any]] = []
        self._plans: list[StudyPlan] = []
        self._standings: dict[str, Standing | None] = {}
        self._read(tell)

    @property
    def trials(self) -> list[TrialSpec]:
        """By number; one that was suggested twice stands here twice."""
        return [plan.trials[0] for plan in self._plans]

    @property
    def plan(self) -> StudyPlan:
        """The study with its suggestions as trials; with those that stand for all before the first."""
        if not self._plans:
            return self._stand_ins
        return replace(merged(self._plans, self._stand_ins.document), spec=self._stand_ins.spec)

    def get(self, number: int, first: int) -> TrialSpec:
        """Trial ``number``; ``first``: the first of its round. All trials before that one have ended."""
        if number == len(self._plans):
            point = self._sampler.suggest(self._axes, self._seen(first), number)
            self._add(point)
            self._write()
        return self._plans[number].trials[0]

    def _add(self, point: Mapping[str, Any]) -> None:
        self._plans.append(trial_at(self._stand_ins, point))
        self._points.append(point)

    def _seen(self, first: int) -> list[Seen]:
        """The trials so far: ranked up to the current round, running from there on, failed ones left out."""
        standings = [self._standing(trial) for trial in self.trials[:first]]
        ended = [(point, standing) for point, standing in zip(self._points, standings, strict=False) if standing]
        best = sorted({standing for _, standing in ended})
        seen = [Seen(point, best.index(standing)) for point, standing in ended]
        return seen + [Seen(point, None) for point in self._points[first:]]

    def _standing(self, trial: TrialSpec) -> Standing | None:
        """How good a trial is that has ended; ``None`` for one that failed. Its row is read once.

        One that a scheduler stopped is behind all that completed: its drop is that of a network half decided.
        """
        if trial.trial_id not in self._standings:
            row = TrialStore(self._out, trial.study, trial.trial_id).trial_row()
            known = None if row is None or row["status"] == "failed" else self._search.standing(row)
            stopped = row is not None and row["status"] != "completed"
            self._standings[trial.trial_id] = None if known is None else (stopped, *known)
        return self._standings[trial.trial_id]

    def _read(self, tell: Callable[[str], None]) -> None:
        """Take over what an earlier run suggested, where this is the same search."""
        file = self._out / FILE
        if not os.path.lexists(file):
            return
        try:
            found = read_json(file, {"key": str, "suggestions": list})
            if found["key"] != self._key:
                tell(f"the search or the study has changed since {file} was written: {ANEW}")
                return
            for one in found["suggestions"][: self._search.trials]:
                self._add(self._checked(one["point"]))
                if one["trial_id"] != self.trials[-1].trial_id:
                    raise ValueError("another trial")
        except (DamagedError, StudyError, KeyError, TypeError, ValueError):
            self._points, self._plans = [], []
            tell(f"{file} is damaged: moved to {set_aside(file).name}; {ANEW}")

    def _checked(self, point: Any) -> dict[str, Any]:
        """``point``, in which every axis has one of its values. Raises ValueError or TypeError for any other."""
        if not isinstance(point, dict) or set(point) != {axis.key for axis in self._axes}:
            raise ValueError("other axes")
        for axis in self._axes:
            number = axis.number(point[axis.key])
            if isinstance(number, bool) or not (axis.choices or axis.low <= number <= axis.high):
                raise ValueError("another value")
        return point

    def _write(self) -> None:
        suggestions = [
            {"trial_id": trial.trial_id, "point": point} for trial, point in zip(self.trials, self._points, strict=True)
        ]
        write_json(self._out / FILE, {"key": self._key, "suggestions": suggestions})


def axes_of(search: SearchSpec) -> list[Axis]:
    """The axes of a search as a sampler sees them."""
    return [
        Axis(key, low=float(over.low), high=float(over.high), step=over.step, log=over.log, whole=over.whole)
        if isinstance(over, Between)
        else Axis(key, choices=tuple(over))
        for key, over in search.over.items()
    ]


def with_suggestions(plan: StudyPlan, out: Path) -> StudyPlan:
    """``plan`` with the trials that its search suggested in the folder ``out``, if it has a search."""
    return plan if plan.spec.search is None else Suggestions(plan, out, lambda _: None).plan


def _base(plan: StudyPlan) -> list[str]:
    """The trials that stand for all: another study has others."""
    return [trial.trial_id for trial in plan.trials]
