"""An evaluator in front of which stands the memo: what is known is not scored again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from raprune.engine.launches import Purpose
from raprune.evaluators.base import EvaluatedMask, Evaluator
from raprune.evaluators.memo.conditions import Conditions, key_of
from raprune.evaluators.memo.store import Memo
from raprune.network.lowrank.factor import Factor
from raprune.network.masks import pack
from raprune.network.state import State
from raprune.plugins.scores.base import Scored, Tally

NAME = "memo"


class Memoised:
    """``evaluator``, asked only for what the memo does not decide; a mask it has seen in part is gone on with."""

    def __init__(self, evaluator: Evaluator, memo: Memo, conditions: Conditions) -> None:
        self.evaluator = evaluator
        self.memo = memo
        self.conditions = conditions

    def evaluate(
        self,
        state: State,
        layer: str,
        masks: Sequence[Tensor],
        lowest: float | None,
        starts: Sequence[Tally | None] | None = None,
    ) -> list[EvaluatedMask]:
        scope = self.conditions.scope(state.version, layer)
        keys = [key_of(scope, pack(mask)) for mask in masks]
        self.memo.add({key: start for key, start in zip(keys, starts or [], strict=False) if start})
        known = self.memo.find(keys, lowest)
        asked = {key: mask for key, mask in zip(keys, masks, strict=True) if not _decides(known.get(key), lowest)}
        scored: dict[str, EvaluatedMask] = {}
        if asked:
            unfinished = [known.get(key) for key in asked]
            found = self.evaluator.evaluate(state, layer, list(asked.values()), lowest, unfinished)
            scored = dict(zip(asked, found, strict=True))
            known |= {key: evaluated.scored.tally for key, evaluated in scored.items()}
            self.memo.add({key: known[key] for key in scored})
        return [scored.pop(key) if key in scored else _remembered(known[key], lowest) for key in keys]

    def candidate(self, state: State, layer: str, mask: Tensor) -> State:
        return self.evaluator.candidate(state, layer, mask)

    def finetune(self, state: State, purpose: Purpose, seeded_by: str) -> State:
        return self.evaluator.finetune(state, purpose, seeded_by)

    def energies(self, state: State, layer: str, scheme: str, num_images: int) -> list[float]:
        return self.evaluator.energies(state, layer, scheme, num_images)

    def factorise(self, state: State, layer: str, factor: Factor, num_images: int) -> State:
        return self.evaluator.factorise(state, layer, factor, num_images)

    def measure(self, state: State, split: str) -> float:
        return self.evaluator.measure(state, split)

    def pictures(self, state: State) -> list[dict[str, Any]]:
        return self.evaluator.pictures(state)

    def describe(self) -> list[dict[str, object]]:
        return self.evaluator.describe()


def _decides(tally: Tally | None, lowest: float | None) -> bool:
    return tally is not None and tally.decides(lowest)


def _remembered(tally: Tally, lowest: float | None) -> EvaluatedMask:
    return EvaluatedMask(Scored(tally.score(lowest), 0, 0.0, tally), NAME, from_memo=True)
