"""How many trials run at the same time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from raprune.engine.launches import masks_a_launch
from raprune.evaluators.members import Turn
from raprune.study import TrialSpec
from raprune.study.schema import StudySpec
from raprune.trial.asked import masks_at_once

CALLS_PER_EVALUATOR = 3
"""Calls that the trials in flight have for each evaluator; docs/scale.md shows how busy fewer and more keep them."""


def trials_in_flight(trials: Iterable[TrialSpec], num_evaluators: int, device_type: str = "cpu") -> int:
    """Trials to run at once: at least two, so that each fills the others' gaps."""
    most = max([1, *(_calls_per_update(trial, device_type) for trial in trials)])
    return max(2, math.ceil(CALLS_PER_EVALUATOR * num_evaluators / most))


def short_rounds(spec: StudySpec, trials: Sequence[TrialSpec], num_evaluators: int, device_type: str = "cpu") -> str:
    """Says that the rounds of a study have fewer trials than the pool can run at once; empty where they have not.

    Nothing follows by itself: which trials a round has decides what is suggested, and what a scheduler stops.
    """
    if spec.search is not None:
        key, at_once = "search.at_once", spec.search.at_once
    elif spec.scheduler is not None:
        key, at_once = "scheduler.at_once", int(spec.scheduler.settings["at_once"])
    else:
        return ""
    fitting = trials_in_flight(trials, num_evaluators, device_type)
    if num_evaluators < 2 or at_once >= fitting:
        return ""
    return (
        f"{key} is {at_once}, and this pool can run {fitting} trials at once: evaluators wait for the last trials of "
        "each round (docs/search.md)"
    )


def turn_of(trial: TrialSpec, trial_ids: Sequence[str], device_type: str = "cpu") -> Turn:
    """Where a trial begins in the pool, among those of its run."""
    spacing = _calls_per_update(trial, device_type) / CALLS_PER_EVALUATOR
    return Turn(trial_ids.index(trial.trial_id), len(trial_ids), spacing)


def useful_evaluators(trials: Iterable[TrialSpec], device_type: str = "cpu") -> int:
    """Evaluators that could all be busy, were all trials to run at once."""
    return sum(_calls_per_update(trial, device_type) for trial in trials)


def _calls_per_update(trial: TrialSpec, device_type: str) -> int:
    """Calls over which an update can be spread: one per mask, or one per launch where masks share launches."""
    return math.ceil(masks_at_once(trial) / masks_a_launch(trial, device_type))
