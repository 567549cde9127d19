"""Evaluators with the memo: in front of one, for what is known; behind one, for what it scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from raprune.engine.tasks import Task
from raprune.evaluators.base import EvaluatedMask, Evaluator
from raprune.evaluators.memo.conditions import Conditions, key_of
from raprune.evaluators.memo.store import Memo
from raprune.network.masks import KeepMask
from raprune.network.state import State
from raprune.plugins.scores.base import Scored, Tally

NAME = "memo"

T = TypeVar("T")


class Memoised:
    """``evaluator``, called only for what the memo does not decide; a partly scored mask resumes from its tally.

    What it scores is held in memory; whoever scores writes it (:class:`Keeping`).
    """

    def __init__(self, evaluator: Evaluator, memo: Memo, conditions: Conditions) -> None:
        self.evaluator = evaluator
        self.memo = memo
        self.conditions = conditions

    def evaluate(
        self,
        state: State,
        layer: str,
        masks: Sequence[KeepMask],
        lowest: float | None,
        starts: Sequence[Tally | None] | None = None,
    ) -> list[EvaluatedMask]:
        scope = self.conditions.scope(state.version, layer)
        keys = [key_of(scope, mask.key) for mask in masks]
        self.memo.hold({key: start for key, start in zip(keys, starts or [], strict=False) if start})
        known = self.memo.find(keys, lowest)
        asked = {key: mask for key, mask in zip(keys, masks, strict=True) if not _decides(known.get(key), lowest)}
        scored: dict[str, EvaluatedMask] = {}
        if asked:
            unfinished = [known.get(key) for key in asked]
            results = self.evaluator.evaluate(state, layer, list(asked.values()), lowest, unfinished)
            scored = dict(zip(asked, results, strict=True))
            known |= {key: evaluated.scored.tally for key, evaluated in scored.items()}
            self.memo.hold({key: known[key] for key in scored})
        return [scored.pop(key) if key in scored else _remembered(known[key], lowest) for key in keys]

    def run(self, task: Task[T], state: State) -> T:
        return self.evaluator.run(task, state)


class Keeping:
    """``evaluator``, whose results are written to the memo ``at_once`` masks at a time.

    It runs in the process that scores, so that a candidate is lost only while it is scored, whoever dies: this process,
    the trial that waits, or the study.
    """

    def __init__(self, evaluator: Evaluator, memo: Memo, conditions: Conditions, at_once: int = 1) -> None:
        self.evaluator = evaluator
        self.memo = memo
        self.conditions = conditions
        self.at_once = at_once

    def evaluate(
        self,
        state: State,
        layer: str,
        masks: Sequence[KeepMask],
        lowest: float | None,
        starts: Sequence[Tally | None] | None = None,
    ) -> list[EvaluatedMask]:
        scope = self.conditions.scope(state.version, layer)
        starts, results = starts or [None] * len(masks), list[EvaluatedMask]()
        try:
            for first in range(0, len(masks), self.at_once):
                part = slice(first, first + self.at_once)
                scored = self.evaluator.evaluate(state, layer, masks[part], lowest, starts[part])
                pairs = zip(masks[part], scored, strict=True)
                tallies = {key_of(scope, mask.key): evaluated.scored.tally for mask, evaluated in pairs}
                self.memo.add(tallies, may_wait=True)
                results += scored
        finally:
            self.memo.flush()
        return results

    def run(self, task: Task[T], state: State) -> T:
        return self.evaluator.run(task, state)


def _decides(tally: Tally | None, lowest: float | None) -> bool:
    return tally is not None and tally.decides(lowest)


def _remembered(tally: Tally, lowest: float | None) -> EvaluatedMask:
    return EvaluatedMask(Scored(tally.score(lowest), 0, 0.0, tally), NAME, from_memo=True)
