"""What keeps a pool from being busier: what waits inside a trial, and that no trial knows of another's calls."""

from __future__ import annotations

import contextlib
import heapq
import itertools
from collections import deque
from collections.abc import Iterator, Sequence

from benchmarks.simulator.recorded import Trial
from raprune.evaluators.members import MAX_IN_FLIGHT, Member, Members


def batches(trial: Trial, begin: float = 0.0) -> Iterator[list[float]]:
    """Seconds of the calls that a trial makes at once; the next ones follow when all have ended.

    Each evaluator of a layer's first update looks at a new state; the later ones know it.
    """
    for layer in trial.layers[int(begin * len(trial.layers)) :]:
        first_s = layer.first_s
        for masks in layer.calls:
            yield [layer.scored[mask.key].seconds + first_s for mask in masks]
            first_s = 0.0
        yield [layer.commit_s]


def parallelism(trial: Trial) -> float:
    """Evaluators that a trial keeps busy on average where it never waits for another trial."""
    made = list(batches(trial))
    return sum(map(sum, made)) / sum(map(max, made))


def one_queue(trials: Sequence[Trial], in_flight: int, evaluators: int, seconds: float) -> float:
    """Busy share of a pool that has one queue for the calls of all trials, whose first looks are those of a layer's
    first update; nothing else takes time."""
    numbers, running = itertools.count(), {n: _stream(trials, n, n / in_flight) for n in range(in_flight)}
    left, waiting, ends = dict.fromkeys(running, 0), deque[tuple[int, float]](), list[tuple[float, int, int]]()
    now, busy, free = 0.0, 0.0, evaluators
    for number in running:
        _ask(number, running, left, waiting)
    while now < seconds:
        while free and waiting:
            number, took_s = waiting.popleft()
            free -= 1
            busy += max(0.0, min(took_s, seconds - now))
            heapq.heappush(ends, (now + took_s, next(numbers), number))
        now, _, number = heapq.heappop(ends)
        free += 1
        left[number] -= 1
        if not left[number]:
            _ask(number, running, left, waiting)
    return busy / evaluators / seconds


def _stream(trials: Sequence[Trial], number: int, begin: float) -> Iterator[list[float]]:
    """Trials one after the other, for ever; the first begins somewhere in the middle."""
    yield from batches(trials[number % len(trials)], begin)
    for place in itertools.count(number + 1):
        yield from batches(trials[place % len(trials)])


def _ask(
    number: int, running: dict[int, Iterator[list[float]]], left: dict[int, int], waiting: deque[tuple[int, float]]
) -> None:
    calls = next(running[number])
    left[number] = len(calls)
    waiting.extend((number, seconds) for seconds in calls)


@contextlib.contextmanager
def all_knowing(near: int) -> Iterator[None]:
    """Each trial knows how many calls wait at each of its ``near`` first evaluators, and calls the one with the fewest.

    Nothing tells that on a real cluster.
    """
    usual = Members.free

    def free(self: Members, wanted: str | None = None) -> Member | None:
        if wanted is not None:
            return usual(self, wanted)
        able = [member for member in self._order if member.is_usable and member.busy < MAX_IN_FLIGHT]
        close = [member for member in self._order[:near] if member in able] or able
        return min(close, key=lambda member: len(member.actor.queue) + (member.actor.now_on is not None), default=None)

    Members.free = free  # type: ignore[method-assign]
    try:
        yield
    finally:
        Members.free = usual  # type: ignore[method-assign]
