"""The least important filters, as many as fit: what pruning by a criterion usually means."""

from __future__ import annotations

from torch import Tensor

from raprune.plugins.decisions.base import DecisionStage, fewest_kept
from raprune.plugins.decisions.bisection import bisect, bisection_steps, fewest_bisection_steps
from raprune.plugins.methods.base import Evaluate, Ranking
from raprune.registry import DECISIONS, Settings


@DECISIONS.register("prefix")
class Prefix(DecisionStage):
    """Bisects how many of the most important filters to keep."""

    def __init__(self, settings: Settings) -> None:
        del settings

    def decide(self, ranking: Ranking, evaluate: Evaluate) -> Tensor:
        """The shortest prefix within the bound, or a mask that the method scored if that keeps fewer filters."""
        bisect(ranking.order, evaluate)
        return fewest_kept(evaluate, len(ranking.order))

    def asked(self, num_filters: int) -> tuple[int, int]:
        return fewest_bisection_steps(num_filters), bisection_steps(num_filters)
