"""Which trials run together, as far as that is known before a study runs."""

from __future__ import annotations

import itertools
import math

from raprune.study import StudyPlan, TrialSpec
from raprune.study.search import SearchSpec


def rounds_of(plan: StudyPlan) -> list[list[TrialSpec]]:
    """The trials round by round, each round after the one before, and last those matched to others.

    Of a search those that stand for all, one after the other and again, as many as it will suggest.
    """
    own = [trial for trial in plan.trials if not trial.matched_trial_id]
    matched = [trial for trial in plan.trials if trial.matched_trial_id]
    search, scheduler = plan.spec.search, plan.spec.scheduler
    if search is not None:
        own, size = list(itertools.islice(itertools.cycle(own), _number(search))), search.at_once
    else:
        size = len(own) if scheduler is None else int(scheduler.settings["at_once"])
    rounds = [own[first : first + size] for first in range(0, len(own), max(1, size))]
    return [*(rounds or [[]]), matched]


def _number(search: SearchSpec) -> int:
    """Trials that a search runs: at most one for each of its points, where it has so few."""
    values = [len(over) if isinstance(over, list) else math.inf for over in search.over.values()]
    return int(min(search.trials, math.prod(values)))
