"""The contract of an evaluator: where all training and scoring runs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from raprune.engine.base import Engine
from raprune.engine.tasks import Task
from raprune.evaluators.backend import Backend
from raprune.evaluators.members import FIRST, Turn
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.scores.base import Scored, Tally

T = TypeVar("T")


@dataclass(frozen=True)
class EvaluatedMask:
    """The result of scoring one mask, and who scored it."""

    scored: Scored
    evaluator: str
    from_memo: bool = False
    """Nothing was scored: the memo already held the result."""
    scored_at: float | None = field(default=None, compare=False)
    """When it was scored, in seconds since 1970 by the clock of who scored it; ``None`` where nothing was."""


@dataclass(frozen=True)
class PoolAddress:
    """The address of a pool of evaluators: plain values, so that it can be sent anywhere."""

    namespace: str
    turn: Turn = FIRST

    def connect(self) -> Backend:
        """The cluster in which the pool is, which this process has joined."""
        from raprune.evaluators.ray_backend import RayBackend

        return RayBackend(self.namespace)


class Evaluator(Protocol):
    """Results are pure functions of the arguments, never of who computes them or when."""

    def evaluate(
        self,
        state: State,
        layer: str,
        masks: Sequence[KeepMask],
        lowest: float | None,
        starts: Sequence[Tally | None] | None = None,
    ) -> list[EvaluatedMask]:
        """Score ``state`` with ``layer`` cut to each mask; returns results in order. Raises :class:`EvaluatorError`.

        ``starts`` holds each mask's earlier tally, if any; none of them may decide ``lowest`` already.
        """

    def run(self, task: Task[T], state: State) -> T:
        """Run any other work on ``state``; returns its result. Raises :class:`EvaluatorError`."""


class OnEngine:
    """An evaluator that uses one engine in its own process."""

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.name = name

    def evaluate(
        self,
        state: State,
        layer: str,
        masks: Sequence[KeepMask],
        lowest: float | None,
        starts: Sequence[Tally | None] | None = None,
    ) -> list[EvaluatedMask]:
        results = self.engine.evaluate_many(state, layer, masks, lowest, starts or [None] * len(masks))
        now = time.time()
        return [EvaluatedMask(scored, self.name, scored_at=now) for scored in results]

    def run(self, task: Task[T], state: State) -> T:
        return task.run(self.engine, state)
