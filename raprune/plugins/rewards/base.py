"""The contract of a reward."""

from __future__ import annotations

from typing import Protocol


class Reward(Protocol):
    """What a candidate is worth."""

    def reward(self, score_drop: float | None, drop_bound: float, num_filters: int, num_kept: int) -> float:
        """``score_drop`` and ``drop_bound`` in points; ``None`` for a drop beyond :meth:`largest_drop`."""

    def largest_drop(self, drop_bound: float) -> float | None:
        """Drops beyond this all give the same reward, so scoring may stop there; ``None``: every drop counts."""
