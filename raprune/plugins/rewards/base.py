"""The contract of a reward."""

from __future__ import annotations

from typing import Protocol


class Reward(Protocol):
    """What a candidate is worth."""

    def reward(self, score_drop: float | None, drop_bound: float, num_filters: int, num_kept: int) -> float:
        """The reward of a candidate; drops are in points, ``score_drop`` is ``None`` beyond :meth:`largest_drop`."""

    def largest_drop(self, drop_bound: float) -> float | None:
        """Drop, in points, beyond which the reward no longer changes and scoring may stop; ``None`` without one."""
