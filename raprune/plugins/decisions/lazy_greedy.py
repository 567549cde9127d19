"""Lazy greedy: again and again the filter whose removal costs least.

Source: Minoux, *Accelerated greedy algorithms for maximizing submodular set functions*, 1978; as CELF: Leskovec et al.,
*Cost-effective outbreak detection in networks*, 2007. If
a removal costs more the more filters are gone, an old cost is a lower limit: only the cheapest filters are scored anew,
and one that does not fit never will. Drops do not always grow so; then this is a heuristic. It scores every filter once
before it prunes the first one.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, replace

from torch import Tensor

from raprune.plugins.decisions.base import DecisionStage, fewest_kept
from raprune.plugins.methods.base import Evaluate, Ranking
from raprune.registry import DECISIONS, Settings


@DECISIONS.register("lazy_greedy")
class LazyGreedy(DecisionStage):
    """Scores each single filter's removal, then prunes the cheapest filter by filter, rescoring only the cheapest."""

    def __init__(self, settings: Settings) -> None:
        del settings

    def decide(self, ranking: Ranking, evaluate: Evaluate) -> Tensor:
        """The mask within the bound that keeps fewest filters, of all scored; the ranking breaks ties."""
        mask = fewest_kept(evaluate, len(ranking.order)).clone()
        queue = [_Removal(-math.inf, place, i) for place, i in enumerate(reversed(ranking.order)) if mask[i]]
        while queue and (num_kept := int(mask.sum())) > 1:
            first = heapq.heappop(queue)
            if first.num_kept == num_kept:
                mask[first.filter_index] = False
                continue
            trial = mask.clone()
            trial[first.filter_index] = False
            evaluation = evaluate([trial])[0]
            if evaluation.feasible and evaluation.score_drop is not None:
                heapq.heappush(queue, replace(first, cost=evaluation.score_drop, num_kept=num_kept))
        return fewest_kept(evaluate, len(ranking.order))

    def asked(self, num_filters: int) -> tuple[int, int]:
        return 0, num_filters * (num_filters + 1) // 2


@dataclass(frozen=True, order=True)
class _Removal:
    """What removing one more filter cost when it was last scored."""

    cost: float
    """The drop, points; minus infinity before it is known."""
    place: int
    """From the end of the ranking; breaks ties."""
    filter_index: int
    num_kept: int = 0
    """How many filters were kept when it was scored."""
