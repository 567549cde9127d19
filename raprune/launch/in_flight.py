"""How many trials decide at the same time."""

from __future__ import annotations

import math
from collections.abc import Iterable

from raprune.study import TrialSpec


def masks_per_update(trial: TrialSpec) -> int:
    """M: masks that a trial's method asks for at once; 1 for one that asks for them one by one."""
    return int(trial.method.settings.get("masks_per_update", 1))


def trials_in_flight(trials: Iterable[TrialSpec], num_evaluators: int) -> int:
    """Enough for twice as many masks as there are evaluators, and two at least: one fills the other's gaps."""
    return max(2, math.ceil(2 * num_evaluators / max(1, *map(masks_per_update, trials), 1)))
