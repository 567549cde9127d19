"""How long trials take on a pool of evaluators.

A trial alternates between evaluators and itself. Alone on K evaluators it takes its path: its updates' masks in rounds
of at most K, everything else one call after another. As many trials as are in flight run at once; while together they
ask for more than the K evaluators, all of them slow down alike (processor sharing), and when one ends the next begins.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Work:
    """What a trial asks for, in seconds."""

    update_s: float
    """Of an evaluator, for the masks of all updates."""
    search_s: float
    """Of an evaluator, for masks that are scored one by one."""
    commit_s: float
    """Of an evaluator, for fine-tunes and scores of states, and for what is computed once a layer."""
    own_s: float
    """Of the trial's own process."""
    num_calls: float
    """Times that it waits for evaluators."""
    masks_per_update: int
    num_candidates: float = 0.0

    @property
    def evaluator_s(self) -> float:
        """All that evaluators do for it."""
        return self.update_s + self.search_s + self.commit_s

    def rounds_s(self, num_evaluators: int) -> float:
        """The updates, with all of the evaluators to itself."""
        return self.update_s * math.ceil(self.masks_per_update / num_evaluators) / self.masks_per_update

    def path_s(self, num_evaluators: int, call_s: float) -> float:
        """From its begin to its end, with all of the evaluators to itself; ``call_s`` is what a call to them costs."""
        rest = self.search_s + self.commit_s + self.own_s + self.num_calls * call_s
        return self.rounds_s(num_evaluators) + rest


def serial_s(works: Sequence[Work]) -> float:
    """One trial after another in one process."""
    return sum(work.evaluator_s + work.own_s for work in works)


def makespan_s(works: Sequence[Work], num_evaluators: int, in_flight: int, call_s: float) -> float:
    """From the first trial's begin to the last one's end, begun in their order."""
    waiting = list(reversed(works))
    running: list[list[float]] = []  # seconds left of the path, and evaluators that it keeps busy on the way
    total = 0.0
    while waiting or running:
        while waiting and len(running) < in_flight:
            work = waiting.pop()
            path = max(1e-9, work.path_s(num_evaluators, call_s))
            running.append([path, work.evaluator_s / path])
        slower = max(1.0, sum(busy for _, busy in running) / num_evaluators)
        least = min(left for left, _ in running)
        total += least * slower
        running = [[left - least, busy] for left, busy in running if left - least > 1e-9 * max(1.0, total)]
    return total


def spread_s(jobs: Sequence[float], num_evaluators: int) -> float:
    """Jobs of one evaluator each, in their order, each to whichever is free first."""
    free = [0.0] * min(num_evaluators, max(1, len(jobs)))
    for job in jobs:
        heapq.heapreplace(free, free[0] + job)
    return max(free, default=0.0)
