"""Counts how often the processes of trials are lost, and says when a trial is to end by it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

MAX_LOSSES = 3
"""A trial fails once its process has been lost this many times without a new score or a committed layer in between."""


class Losses:
    """The losses of each trial since it last got further: one that gets a little further each time arrives."""

    def __init__(self) -> None:
        self._since: Counter[str] = Counter()

    def told(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Take in one of a trial's reports."""
        if "pruning_ratio" in result or result.get("new_scored"):
            del self._since[trial_id]

    def count(self, trial_id: str) -> bool:
        """Count a loss; returns whether the trial is to end."""
        self._since[trial_id] += 1
        return self._since[trial_id] >= MAX_LOSSES
