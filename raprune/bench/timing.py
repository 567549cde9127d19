"""Times of two networks run in turn, so that what disturbs the machine disturbs both."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Run = Callable[[], Any]
WARM_UP = 5
"""Runs that are not counted."""


@dataclass(frozen=True)
class Times:
    """Seconds of each run."""

    seconds: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float, float]:
        """Lower quartile, median and upper quartile; of one run, three times that run."""
        if len(self.seconds) == 1:
            return (self.seconds[0],) * 3
        low, middle, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, middle, high

    @property
    def median(self) -> float:
        return self.quartiles[1]


def in_turn(calls: Sequence[Run], runs: int, warm_up: int = WARM_UP) -> list[Times]:
    """Each call ``runs`` times after ``warm_up`` that do not count: A B, B A, A B, ..."""
    seconds: list[list[float]] = [[] for _ in calls]
    places = list(range(len(calls)))
    for number in range(-warm_up, runs):
        for place in places if number % 2 == 0 else reversed(places):
            start = time.perf_counter()
            calls[place]()
            elapsed = time.perf_counter() - start
            if number >= 0:
                seconds[place].append(elapsed)
    return [Times(tuple(times)) for times in seconds]
