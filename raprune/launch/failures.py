"""The starts of evaluators that failed, one after the other: how long the next one waits, and when none will do."""

from __future__ import annotations

FIRST_PAUSE_S, MOST_PAUSE_S = 0.4, 60.0
"""The pause after a failure; each is twice as long as the one before it."""
STARTS = 6
"""Evaluators that may fail to start, one after the other, while none works; then the pool has ended."""
MOST_DOUBLINGS = 20


class Failures:
    """Those since an evaluator last began to work."""

    def __init__(self) -> None:
        self._number = self._in_vain = 0
        self._why = ""
        self._next = float("-inf")

    @property
    def why(self) -> str:
        """Of the latest one; empty without any."""
        return self._why

    @property
    def are_too_many(self) -> bool:
        return self._in_vain >= STARTS

    def add(self, why: str, now: float, *, alone: bool, differs: bool) -> None:
        """``alone``: no other evaluator works. ``differs``: the machine was refused, so another one may do."""
        pause = FIRST_PAUSE_S * 2 ** min(self._number, MOST_DOUBLINGS)
        self._number, self._why, self._next = self._number + 1, why, now + min(MOST_PAUSE_S, pause)
        if not alone:
            self._in_vain = 0
        elif not differs:
            self._in_vain += 1

    def over(self) -> None:
        """An evaluator has begun to work."""
        self._number, self._in_vain, self._why = 0, 0, ""

    def may_start(self, number: int, now: float) -> int:
        """How many of ``number`` evaluators to start now."""
        if now < self._next:
            return 0
        return min(number, 1) if self._why else number
