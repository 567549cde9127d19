"""A prefix, then every kept filter alone."""

from __future__ import annotations

from torch import Tensor

from raprune.plugins.decisions.base import DecisionStage, fewest_kept
from raprune.plugins.decisions.bisection import bisect, bisection_steps, fewest_bisection_steps
from raprune.plugins.methods.base import Evaluate, Ranking
from raprune.registry import DECISIONS, Settings


@DECISIONS.register("trim")
class Trim(DecisionStage):
    """Bisects as ``prefix`` does, then prunes each single filter, least important first, that fits within the bound."""

    def __init__(self, settings: Settings) -> None:
        del settings

    def decide(self, ranking: Ranking, evaluate: Evaluate) -> Tensor:
        """The prefix without each kept filter whose removal stays within the bound; one pass."""
        bisect(ranking.order, evaluate)
        mask = fewest_kept(evaluate, len(ranking.order)).clone()
        for filter_index in reversed(ranking.order):
            if mask[filter_index] and mask.sum() > 1:
                mask[filter_index] = False
                if not evaluate([mask.clone()])[0].feasible:
                    mask[filter_index] = True
        return mask

    def asked(self, num_filters: int) -> tuple[int, int]:
        return fewest_bisection_steps(num_filters), bisection_steps(num_filters) + num_filters
