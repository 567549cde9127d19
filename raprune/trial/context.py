"""Where a trial runs and where its rows go."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from raprune.engine.inputs import Inputs
from raprune.engine.workload import Baseline, Workload
from raprune.evaluators.base import Evaluator
from raprune.results import TrialStore
from raprune.trial.budget import Budget, Unlimited
from raprune.trial.pacing import Pace

Progress = Callable[[dict[str, Any]], None]


@dataclass
class TrialContext:
    """Where a trial runs and where its rows go; nothing in it changes a number."""

    evaluator: Evaluator
    inputs: Inputs
    workload: Workload
    baseline: Baseline
    store: TrialStore
    matched: TrialStore | None
    """The trial whose num_kept a matched trial adopts."""
    preset: str
    num_evaluators: int
    device: str
    progress: Progress = lambda _: None
    budget: Budget = field(default_factory=Unlimited)
    """The study's budget: once it is spent, the trial ends with what it has."""
    pace: Pace | None = None
    """With what a scheduler compares the trial; ``None`` without one."""
