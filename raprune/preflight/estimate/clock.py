"""Times work, and measures how much the machine's speed drifts and how much of it others use meanwhile."""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

now = time.perf_counter
"""The clock of all timing; a benchmark that must ignore other processes replaces it with processor time."""
MIN_SAMPLE_S, MOST_REPEATS = 0.1, 20
"""Seconds and times that the reference work is repeated: shorter samples measure the scheduler, not the machine."""
MEDIAN_TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution over the median of its absolute deviations."""
LATER_SIGMA = 0.15
"""As :attr:`Drift.sigma`, from one hour to another, on processors: docs/cost.md has the runs."""


def seconds(work: Callable[[], object]) -> float:
    """Run ``work`` once; returns the seconds it took."""
    start = now()
    work()
    return now() - start


class Drift:
    """The same work timed again and again while other work is timed."""

    def __init__(self, threads: int | None) -> None:
        """``threads``: number that the work keeps busy; ``None`` where it does not run on processors."""
        self.threads = threads
        self._logs: defaultdict[str, list[float]] = defaultdict(list)
        self._wanted_s = self._got_s = 0.0

    def sample(self, name: str, work: Callable[[], object]) -> None:
        """Time ``work``; all samples with one ``name`` must be of the same work."""
        total, repeats, got = 0.0, 0, time.process_time()
        while repeats == 0 or (total < MIN_SAMPLE_S and repeats < MOST_REPEATS):
            total += seconds(work)
            repeats += 1
        self._logs[name].append(math.log(total / repeats))
        self._wanted_s += total * (self.threads or 1)
        self._got_s += time.process_time() - got

    @property
    def share(self) -> float:
        """Share of the usable processor time that the work got: below 1 where other processes use the machine."""
        return 1.0 if self.threads is None or not self._wanted_s else min(1.0, self._got_s / self._wanted_s)

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm of the work's time: 0.1 is about ten percent either way.

        From the median deviation: a single disturbed sample says nothing about hours of work.
        """
        off = [abs(log - statistics.median(logs)) for logs in self._logs.values() if len(logs) > 1 for log in logs]
        return MEDIAN_TO_SIGMA * statistics.median(off) if off else 0.0

    @property
    def sigma_later(self) -> float:
        """As ``sigma``, for work that runs some hours later."""
        return self.sigma if self.threads is None else math.hypot(self.sigma, LATER_SIGMA)
