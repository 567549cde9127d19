"""Seconds of work that is done now, and how much the machine's speed changes and is shared meanwhile."""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from collections.abc import Callable

now = time.perf_counter
"""What all timing reads; a benchmark that must not see other processes' work puts processor time in its place."""
MIN_SAMPLE_S, MOST_REPEATS = 0.1, 20
"""The reference work is repeated for so long: shorter samples tell of the scheduler, not of the machine's speed."""
MEDIAN_TO_SIGMA = 1.4826
"""Of a normal distribution: its standard deviation over the median of its deviations."""
LATER_SIGMA = 0.15
"""As :attr:`Drift.sigma`, from one hour to another, on processors: docs/cost.md has the runs."""


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes, once."""
    start = now()
    work()
    return now() - start


class Drift:
    """The same work timed again and again while other work is timed."""

    def __init__(self, threads: int | None) -> None:
        """``threads`` that the work keeps busy; ``None`` where it is not done on processors."""
        self.threads = threads
        self._logs: defaultdict[str, list[float]] = defaultdict(list)
        self._wanted_s = self._got_s = 0.0

    def sample(self, name: str, work: Callable[[], object]) -> None:
        """Time ``work``; samples of one ``name`` are of the same work."""
        total, repeats, got = 0.0, 0, time.process_time()
        while repeats == 0 or (total < MIN_SAMPLE_S and repeats < MOST_REPEATS):
            total += seconds(work)
            repeats += 1
        self._logs[name].append(math.log(total / repeats))
        self._wanted_s += total * (self.threads or 1)
        self._got_s += time.process_time() - got

    @property
    def share(self) -> float:
        """What the work got of the processors' time that it could have used: under 1 where others use them too."""
        return 1.0 if self.threads is None or not self._wanted_s else min(1.0, self._got_s / self._wanted_s)

    @property
    def sigma(self) -> float:
        """Standard deviation of the logarithm of a work's time: 0.1 is about ten percent, either way.

        From the median deviation: one sample in which the system did something else says nothing of hours.
        """
        off = [abs(log - statistics.median(logs)) for logs in self._logs.values() if len(logs) > 1 for log in logs]
        return MEDIAN_TO_SIGMA * statistics.median(off) if off else 0.0

    @property
    def sigma_later(self) -> float:
        """The same for work that is done some time after."""
        return self.sigma if self.threads is None else math.hypot(self.sigma, LATER_SIGMA)
