"""What a study has spent of its budget, and how a trial learns that nothing is left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from raprune.study.budget import BudgetSpec


class BudgetSpent(Exception):
    """No more candidates may be requested. Not an error: it ends a search early."""


class Budget(Protocol):
    """A study's budget, shared by all its trials wherever they run."""

    def spent(self, trial_id: str, num_candidates: int) -> bool:
        """Record the candidates that a trial has requested in all its layers; returns whether the budget is spent."""


class Unlimited:
    """The budget of a study that has none."""

    def spent(self, trial_id: str, num_candidates: int) -> bool:
        """Always ``False``."""
        del trial_id, num_candidates
        return False


class Account:
    """A budget, and what each trial has requested. Trials report totals, so a repeated call changes nothing."""

    def __init__(self, spec: BudgetSpec, used_s: float, asked: Mapping[str, int]) -> None:
        """``used_s``: seconds that earlier runs took; ``asked``: trial_id -> candidates that it requested before."""
        self.spec = spec
        self._ends_at = None if spec.hours is None else time.time() + spec.hours * 3600 - used_s
        self._asked = dict(asked)

    def spent(self, trial_id: str, num_candidates: int) -> bool:
        self._asked[trial_id] = num_candidates
        return self.is_spent

    @property
    def is_spent(self) -> bool:
        """Whether the hours have passed or all candidates have been requested."""
        if self._ends_at is not None and time.time() >= self._ends_at:
            return True
        return self.spec.candidates is not None and sum(self._asked.values()) >= self.spec.candidates


class TrialBudget:
    """One trial's view of the budget."""

    def __init__(self, budget: Budget, trial_id: str, num_candidates: int, per_layer: int | None = None) -> None:
        """``num_candidates``: candidates that the trial has already requested."""
        self.per_layer = per_layer
        """Most candidates of a layer; ``None`` for no limit."""
        self._budget = budget
        self._trial_id = trial_id
        self._num_candidates = num_candidates

    @property
    def is_empty(self) -> bool:
        """Whether the study's budget is spent, including what this trial has requested."""
        return self._budget.spent(self._trial_id, self._num_candidates)

    def take(self, num_candidates: int) -> None:
        """Add candidates that the trial has requested."""
        self._num_candidates += num_candidates

    def require(self) -> None:
        """Raise :class:`BudgetSpent` if the budget is spent."""
        if self.is_empty:
            raise BudgetSpent
