"""What a trial's own fine-tunes and looks at the guard take, waits for an evaluator included."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from raprune.engine.tasks import Finetune, Look, Task
from raprune.evaluators.base import EvaluatedMask, Evaluator
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.scores.base import Tally
from raprune.results import PARTS

T = TypeVar("T")
WORK: dict[str, type[Task[Any]]] = dict(zip(PARTS, (Finetune, Look), strict=True))
"""Column -> the work whose seconds it holds; those of a candidate's fine-tune are in ``score_s``."""


class Clocked:
    """An evaluator that counts the seconds of some of its work."""

    def __init__(self, evaluator: Evaluator, now: Callable[[], float] = time.perf_counter) -> None:
        self._evaluator = evaluator
        self._now = now
        self.seconds = dict.fromkeys(PARTS, 0.0)
        """Column -> seconds so far."""

    def evaluate(
        self,
        state: State,
        layer: str,
        masks: Sequence[KeepMask],
        lowest: float | None,
        starts: Sequence[Tally | None] | None = None,
    ) -> list[EvaluatedMask]:
        return self._evaluator.evaluate(state, layer, masks, lowest, starts)

    def run(self, task: Task[T], state: State) -> T:
        start = self._now()
        try:
            return self._evaluator.run(task, state)
        finally:
            for column, kind in WORK.items():
                if isinstance(task, kind):
                    self.seconds[column] += self._now() - start


def seconds_so_far(evaluator: Evaluator) -> dict[str, float]:
    """Column -> seconds of ``evaluator``; empty if it does not count them."""
    return dict(evaluator.seconds) if isinstance(evaluator, Clocked) else {}


def seconds_since(before: Mapping[str, float], evaluator: Evaluator) -> dict[str, float | None]:
    """Column -> seconds since :func:`seconds_so_far` was ``before``; null if they are not counted."""
    now = seconds_so_far(evaluator)
    return {column: now[column] - before[column] if column in now else None for column in PARTS}


def seconds_of(rows: Iterable[Mapping[str, Any]], evaluator: Evaluator) -> dict[str, float | None]:
    """Column -> seconds of a trial: of what earlier sessions wrote as ``rows``, and of this one; null where unknown."""
    rows, now = list(rows), seconds_so_far(evaluator)

    def total(column: str) -> float | None:
        known = [part for row in (*rows, now) if (part := row.get(column)) is not None]
        return sum(known) if len(known) == len(rows) + 1 else None

    return {column: total(column) for column in PARTS}
