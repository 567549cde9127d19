"""The contract of an evaluator: where all training and scoring runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from raprune.engine.base import Engine
from raprune.engine.tasks import Task
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.scores.base import Scored, Tally

T = TypeVar("T")


@dataclass(frozen=True)
class EvaluatedMask:
    """What scoring one mask gave, and who did it."""

    scored: Scored
    evaluator: str
    from_memo: bool = False
    """Nothing was scored now: all that is asked was known."""


@dataclass(frozen=True)
class PoolAddress:
    """Where a pool of evaluators is found: plain strings, so that it travels anywhere."""

    namespace: str
    names: tuple[str, ...]


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
        """Score ``state`` with ``layer`` cut to each mask, in order. Raises :class:`EvaluatorError`.

        ``starts`` says how far each mask was scored before; none of them may decide ``lowest`` already.
        """

    def run(self, task: Task[T], state: State) -> T:
        """The result of any other work on ``state``. Raises :class:`EvaluatorError`."""


class OnEngine:
    """An evaluator that asks one engine of its own process."""

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
        scored = self.engine.evaluate_many(state, layer, masks, lowest, starts or [None] * len(masks))
        return [EvaluatedMask(one, self.name) for one in scored]

    def run(self, task: Task[T], state: State) -> T:
        return task.run(self.engine, state)
