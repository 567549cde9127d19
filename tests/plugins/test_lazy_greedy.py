"""Lazy greedy on prices that add up: the cheapest filters go, and few are scored twice."""

from __future__ import annotations

import torch

from raprune.plugins.decisions.base import DecisionStage
from raprune.plugins.methods.base import Ranking
from raprune.registry import DECISIONS
from tests.conformance.layers import BOUND, Evaluator


def test_the_cheapest_go_whatever_the_ranking_and_only_the_cheapest_is_scored_again() -> None:
    prices = torch.tensor([0.9, 0.3, 5.0, 0.8, 0.4, 0.7])
    stage: DecisionStage = DECISIONS.build("lazy_greedy", {})
    evaluate = Evaluator(prices)
    mask = stage.decide(Ranking([1, 4, 5, 3, 0, 2]), evaluate)
    assert mask.tolist() == [True, False, True, True, False, False]  # 0.3 + 0.4 + 0.7; 0.8 more would be too much
    assert float(prices[~mask].sum()) <= BOUND
    dropped = [int((~scored).sum()) for scored in evaluate.masks]
    assert dropped[:6] == [1] * 6  # each alone, once; then the first goes without a score of its own
    assert evaluate.masks[6].tolist() == [True, False, True, True, False, True]
    naive = 6 + 5 + 4 + 3  # all that are left, before each removal
    assert len(evaluate.masks) < naive
