"""The contract of a sampler: the next point of a search, as a pure function of its number and of what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Point = Mapping[str, Any]
"""Key of a trial -> its value."""
DIGITS = 4
"""Significant digits of a suggested number: enough to search, and short enough to read."""


@dataclass(frozen=True)
class Axis:
    """The values that a key may take: ``choices``, or numbers from ``low`` to ``high``."""

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    step: float | None = None
    """Distance between neighbouring numbers, counted from ``low``; ``None``: any number."""
    log: bool = False
    """Whether numbers are spread evenly over their logarithms."""
    whole: bool = False
    """Whether only whole numbers will do."""

    def value(self, number: float) -> Any:
        """The allowed value nearest to a suggested number; for choices the number is an index."""
        if self.choices:
            return self.choices[int(number)]
        if self.step is not None:
            number = self.low + round((number - self.low) / self.step) * self.step
        if self.whole:
            return int(min(max(round(number), self.low), self.high))
        return min(max(float(f"{number:.{DIGITS}g}"), self.low), self.high)

    def number(self, value: Any) -> float:
        """The reverse of :meth:`value`."""
        return self.choices.index(value) if self.choices else value


@dataclass(frozen=True)
class Seen:
    """A trial of the search so far."""

    point: Point
    rank: int | None
    """Place among the trials that ended, 0 for the best; ``None`` while it runs."""


class Sampler(Protocol):
    """Suggests points. It keeps nothing between calls, so a search goes on anywhere from what was seen."""

    def suggest(self, axes: Sequence[Axis], seen: Sequence[Seen], number: int) -> dict[str, Any]:
        """The point of trial ``number``, a value for each axis; depends on the arguments and the settings alone.

        ``seen`` are the trials before it, in order, without those that failed.
        """
