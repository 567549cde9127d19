"""How many trials run at the same time."""

from __future__ import annotations

import math
from collections.abc import Iterable

from raprune.engine.launches import MASKS_A_LAUNCH, shares_launches
from raprune.study import TrialSpec
from raprune.trial.asked import masks_at_once


def trials_in_flight(trials: Iterable[TrialSpec], num_evaluators: int, device_type: str = "cpu") -> int:
    """Trials to run at once: enough for two calls per evaluator, at least two, so that each fills the others' gaps."""
    return max(
        2, math.ceil(2 * num_evaluators / max([1, *(_calls_per_update(trial, device_type) for trial in trials)]))
    )


def useful_evaluators(trials: Iterable[TrialSpec], device_type: str = "cpu") -> int:
    """Evaluators that could all be busy, were all trials to run at once."""
    return sum(_calls_per_update(trial, device_type) for trial in trials)


def _calls_per_update(trial: TrialSpec, device_type: str) -> int:
    """Calls over which an update can be spread: one per mask, or one per launch where masks share launches."""
    masks = masks_at_once(trial)
    return math.ceil(masks / MASKS_A_LAUNCH) if shares_launches(trial, device_type) else masks
