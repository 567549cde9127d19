"""Evaluators whose clocks differ from the trial's: the report's timeline shows them at the time of the answer."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.tiny import EngineEvaluator, candidates_of, engine_of, lively_vgg, own_labels


class Off(EngineEvaluator):
    """Its clock is so many seconds ahead."""

    ahead_s = 0.0

    def evaluate(self, state: Any, layer: Any, masks: Any, lowest: Any, starts: Any = None) -> Any:
        found = super().evaluate(state, layer, masks, lowest, starts)
        return [replace(one, scored_at=(one.scored_at or 0.0) + self.ahead_s) for one in found]


@pytest.mark.parametrize("ahead_s", [0.0, 3600.0, -3600.0])
def test_a_candidate_was_scored_while_somebody_waited_for_it(ahead_s: float) -> None:
    network = lively_vgg()
    candidates = candidates_of(engine_of(network, own_labels(network, 40)), "features.40", 5.0)
    candidates.evaluator = Off(candidates.evaluator.engine)  # type: ignore[attr-defined]
    candidates.evaluator.ahead_s = ahead_s
    mask = torch.ones(candidates.num_filters, dtype=torch.bool)
    mask[0] = False
    began = time.time()
    candidates([mask])
    assert began - 0.1 <= candidates.rows[0]["scored_at"] <= time.time() + 0.1
