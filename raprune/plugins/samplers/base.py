"""The contract of a sampler: the next point of a search, as a pure function of its number and of what was seen."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Point = Mapping[str, Any]
"""Key of a trial -> its value."""
DIGITS = 4
"""Significant digits of a suggested number: enough to search, and short enough to read. A narrow range needs more."""
STEP_DIGITS = 12
"""Of a number on a grid: enough for every step, without the noise of its sums."""


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

    @property
    def num_places(self) -> int | None:
        """How many values there are, where they are choices or lie on a grid; ``None`` for any number between."""
        if self.choices:
            return len(self.choices)
        return None if self.step is None else math.floor((self.high - self.low) / self.step + 1e-9) + 1

    def at(self, place: int) -> Any:
        """The choice or the number of the grid at a place, from 0."""
        if self.choices:
            return self.choices[place]
        number = self.low + place * (self.step or 0.0)
        return round(number) if self.whole else float(f"{number:.{STEP_DIGITS}g}")

    def value(self, number: float) -> Any:
        """The allowed value nearest to a suggested number; for choices the number is an index."""
        if self.choices:
            return self.at(int(number))
        if self.step is not None:
            return self.at(min(max(round((number - self.low) / self.step), 0), (self.num_places or 1) - 1))
        if self.whole:
            return int(min(max(round(number), self.low), self.high))
        return min(max(float(f"{number:.{self._digits}g}"), self.low), self.high)

    def number(self, value: Any) -> float:
        """The reverse of :meth:`value`. Raises :class:`ValueError` for what is not among the choices."""
        if not self.choices:
            found: float = value
            return found
        return [repr(one) for one in self.choices].index(repr(value))  # true is not 1, as in a study file

    def place(self, value: Any) -> int:
        """The reverse of :meth:`at`."""
        number = self.number(value)
        return int(number) if self.choices else round((number - self.low) / (self.step or 1.0))

    @property
    def _digits(self) -> int:
        """Significant digits that tell numbers of the range apart as finely as those of a wide one."""
        largest = max(abs(self.low), abs(self.high))
        return DIGITS + max(0, math.floor(math.log10(largest / (self.high - self.low))))


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
