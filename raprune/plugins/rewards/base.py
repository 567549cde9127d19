"""The contract of a reward."""

from __future__ import annotations

from typing import Protocol


class Reward(Protocol):
    """What a candidate is worth: its accuracy term times its efficiency term, in one number.

    For any ``drop_bound`` above 0 the reward is finite and never better for a larger drop. Keeping all filters is worth
    0, whatever the drop; within the bound fewer filters are worth more.
    """

    def reward(self, score_drop: float | None, drop_bound: float, num_filters: int, num_kept: int) -> float:
        """The reward of a candidate; drops are in points.

        ``score_drop`` is ``None`` where scoring stopped beyond :meth:`largest_drop`: the reward of any larger drop.
        Raises ``ValueError`` for ``num_kept`` 0, and for ``None`` where there is no largest drop.
        """

    def largest_drop(self, drop_bound: float) -> float | None:
        """Drop in points, larger than the bound, beyond which the reward no longer changes; ``None`` without one.

        Scoring may stop there. Without one, every candidate is scored in full.
        """
