"""A tracker that keeps what it is told, and a small study with trackers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from raprune.plugins.trackers.base import TrackedStudy, TrackedTrial
from raprune.registry import TRACKERS, Plugin, Settings
from raprune.study import Choice, StudyPlan, load_study
from tests.fuzz.small import STUDY

CALLS: list[tuple[object, ...]] = []


class Told:
    """Keeps what it is told; others raise or hang."""

    def __init__(self, settings: Settings, *, study: TrackedStudy) -> None:
        self.study = study

    def begin(self) -> None:
        CALLS.append(("begin", self.study.name))

    def trial(self, trial: TrackedTrial) -> None:
        CALLS.append(("trial", trial.trial_id, trial.params["method"]))

    def layer(self, trial_id: str, step: int, metrics: Mapping[str, float]) -> None:
        CALLS.append(("layer", trial_id, step, metrics["pruning_ratio"], metrics["macs"]))

    def ended(self, trial_id: str, status: str, metrics: Mapping[str, float]) -> None:
        CALLS.append(("ended", trial_id, status, metrics.get("macs")))

    def close(self, status: str) -> None:
        CALLS.append(("close", status))


def register(monkeypatch: pytest.MonkeyPatch, *kinds: type[Told]) -> None:
    """Make trackers known by their names in small letters."""
    known = TRACKERS._load()
    for kind in kinds:
        monkeypatch.setitem(known, kind.__name__.lower(), Plugin("tracker", kind.__name__.lower(), Settings, kind))
    CALLS.clear()


def plan_of(folder: Path, *names: str, changes: tuple[str, ...] = ()) -> StudyPlan:
    (folder / "small.yaml").write_text(STUDY)
    plan = load_study(folder / "small.yaml", changes)
    return replace(plan, spec=plan.spec.model_copy(update={"trackers": [Choice(name=name) for name in names]}))
